"""Sandboxes in the containers of a Docker engine: `DockerSandboxes`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentenv_docker.backend import DockerSandboxes

__all__ = ["DockerSandboxes"]


def __getattr__(name: str) -> Any:
    """Imported late: who lists the backends need not have the Docker SDK."""
    if name == "DockerSandboxes":
        from agentenv_docker.backend import DockerSandboxes

        return DockerSandboxes
    raise AttributeError(name)
