"""Sandboxes on this machine without any daemon: `LocalSandboxes`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentenv_local.backend import LocalSandboxes

__all__ = ["LocalSandboxes"]


def __getattr__(name: str) -> Any:
    """Imported late: what runs inside a sandbox imports this package and must not import agentenv."""
    if name == "LocalSandboxes":
        from agentenv_local.backend import LocalSandboxes

        return LocalSandboxes
    raise AttributeError(name)
