"""Sandboxes of an `agentenv sandbox serve` on another machine: `RemoteSandboxes`."""

from __future__ import annotations

from agentenv_remote.backend import RemoteSandboxes

__all__ = ["RemoteSandboxes"]
