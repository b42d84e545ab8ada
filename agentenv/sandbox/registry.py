"""Sandbox backends by name: `make_backend("local", preload=["numpy"])`.

A package announces a backend through the entry-point group `agentenv.sandboxes`; each entry names what makes it:
a class or function whose keyword arguments are its options.
"""

from __future__ import annotations

from typing import Any

from agentenv.errors import RegistryError
from agentenv.plugins import Plugins
from agentenv.sandbox.contract import SandboxBackend

BACKENDS = Plugins("agentenv.sandboxes", "sandbox backend", "sandbox backends")


def list_backends() -> list[str]:
    """The names that `make_backend` knows, sorted. Nothing is imported for it."""
    return BACKENDS.names()


def make_backend(name: str, **options: Any) -> SandboxBackend:
    """A backend by its name.

    Raises:
        RegistryError: no such backend (the message holds the nearest), or its plugin cannot be imported.
        MissingExtraError: an optional package is not installed.
        ConfigError: an option that the backend does not take.
    """
    backend = BACKENDS.make(name, **options)
    if not isinstance(backend, SandboxBackend):
        raise RegistryError(f"the sandbox plugin {name!r} made a {type(backend).__name__}, which is no SandboxBackend")
    return backend


def describe_backend(name: str) -> str:
    """The first line of what the backend says of itself. Raises what `make_backend` raises."""
    return BACKENDS.describe(name)
