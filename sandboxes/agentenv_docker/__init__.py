"""Sandboxes in the containers of a Docker engine: `DockerSandboxes`."""

from __future__ import annotations
