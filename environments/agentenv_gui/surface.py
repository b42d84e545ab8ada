"""`Surface`: what a browser's page and a desktop have in common, and a recording of either."""

from __future__ import annotations

from typing import Protocol

from agentenv.errors import AgentenvError
from agentenv_gui.actions import Action, Zoom
from agentenv_gui.seen import Seen, Size, Wants


class ActionError(AgentenvError):
    """An action that cannot be carried out: the policy's own doing, and an observation. The message is for it."""


class Surface(Protocol):
    """Something to look at and to act upon. One episode's at a time.

    What fails in it, a browser that died or a container that is gone, is raised as `SandboxError`, never an
    `ActionError`.
    """

    @property
    def size(self) -> Size:
        """How large it is."""
        ...

    async def act(self, action: Action) -> None:
        """Carries out one action, and waits until the surface has settled.

        `Look` and `Finish` do nothing. `Zoom` is not for here: `see` takes the region.

        Raises:
            ActionError: it cannot be carried out. Nothing of it was.
            SandboxError: the surface has failed.
        """
        ...

    async def see(self, wants: Wants, zoom: Zoom | None = None) -> Seen:
        """Looks at it. The ids of a tree are those that the next actions aim at.

        Args:
            wants: what to look at. zoom: the part of the screen that the picture shows, as sharp as it can be.

        Raises:
            SandboxError: the surface has failed.
        """
        ...
