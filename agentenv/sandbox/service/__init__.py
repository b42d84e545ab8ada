"""Sandboxes over HTTP, so that programs can run on machines away from the trainer: `SandboxService`."""

from __future__ import annotations

from agentenv.sandbox.service.config import ServiceConfig
from agentenv.sandbox.service.server import SandboxService

__all__ = ["SandboxService", "ServiceConfig"]
