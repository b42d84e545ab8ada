"""Sandboxes of any service that speaks E2B's API: `E2BSandboxes`."""

from __future__ import annotations

from agentenv_e2b.backend import E2BSandboxes

__all__ = ["E2BSandboxes"]
