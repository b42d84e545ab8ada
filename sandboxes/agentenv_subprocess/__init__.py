"""Plain processes of this user, not isolated at all: `SubprocessSandboxes`."""

from __future__ import annotations

from agentenv_subprocess.backend import SubprocessSandboxes

__all__ = ["SubprocessSandboxes"]
