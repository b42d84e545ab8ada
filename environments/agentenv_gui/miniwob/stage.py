"""A browser's page on which episodes of MiniWoB++ are played, one after the other: the surface of the environment."""

from __future__ import annotations

import json
from typing import Any

from agentenv.errors import SandboxError
from agentenv_gui.actions import (
    Action,
    Button,
    Click,
    Finish,
    Hold,
    KeyDown,
    KeyUp,
    Look,
    Move,
    Point,
    Scroll,
    Wait,
    Zoom,
)
from agentenv_gui.browser.options import PageOptions
from agentenv_gui.browser.page import Page
from agentenv_gui.miniwob import source
from agentenv_gui.miniwob.reading import USUAL, Pace, Reading
from agentenv_gui.miniwob.scripts import RELOADED, bundle
from agentenv_gui.miniwob.tasks import Assignment
from agentenv_gui.seen import Seen, Size, Wants

SIZE = Size(160, 210)
"""MiniWoB++ draws its tasks into so many pixels."""

OPTIONS = PageOptions(SIZE, scripts=(bundle(),))
"""Of the pages that it wants."""

_SECONDS = 15.0
"""How long a page may take for what happens in an action."""
_UNIX_MILLISECONDS = 1_704_110_400_000
"""What time it is when an episode begins: noon of the first of January 2024, UTC."""
_HOME = Point(0, 0)
"""Where the pointer is then."""


class Stage:
    """A page, as a surface. `begin` starts an episode; `reading` is what the page has said last.

    The page's clock stands still but during actions, which take what `pace` says; `Wait` and `Hold` take as long as
    they say.

    Args:
        page: of the browser, made with `OPTIONS`.
    """

    def __init__(self, page: Page, pace: Pace = USUAL) -> None:
        self.page, self.pace = page, pace
        self.name = ""
        self.reading = Reading()

    @property
    def size(self) -> Size:
        return self.page.size

    async def begin(self, assignment: Assignment, mode: str = "train", *, fresh: bool = False) -> None:
        """Starts an episode, in the document that is there where that is as good as a new one.

        Args:
            mode: of MiniWoB's data, "train" or "test". fresh: load the page anew in any case.

        Raises:
            SandboxError: the page cannot be loaded, or has failed.
        """
        self.name = assignment.name
        if not fresh and self.name not in RELOADED and await self.begin_here(assignment, mode):
            return
        await self.page.goto(source.address(self.name))
        if not await self.begin_here(assignment, mode):
            raise SandboxError(f"the page of {self.name} does not come to rest")

    async def begin_here(self, assignment: Assignment, mode: str = "train") -> bool:
        """Starts an episode in the document that is there.

        Returns:
            Whether it is the task's own, and nothing of an earlier episode goes on in it.

        Raises:
            SandboxError: the page has failed.
        """
        await self.page.let_go()
        await self.page.perform(Move(_HOME))
        asked = {"seed": assignment.seed, "mode": mode, "unix": _UNIX_MILLISECONDS}
        told = await self._evaluate(
            f"window.agentenvEpisode && document.URL.split('#')[0] === {json.dumps(source.address(assignment.name))}"
            f" ? agentenvEpisode.start({json.dumps(asked)}).then((begun) => {{ agentenvOracle.begin();"
            f" return {{...begun, read: {_reading(assignment.name)}}}; }}) : null"
        )
        if told is None:
            return False
        self.reading = Reading.of(told["read"])
        return not told["haunted"]

    async def act(self, action: Action) -> None:
        match action:
            case Look() | Finish():
                return
            case Wait(seconds=seconds):
                await self._run(f"agentenvEpisode.run({1e3 * seconds})")
                return
            case Hold(keys=keys, seconds=seconds):
                for key in keys:
                    await self.page.perform(KeyDown(key))
                await self._run(f"agentenvEpisode.run({1e3 * seconds})")
                for key in reversed(keys):
                    await self.page.perform(KeyUp(key))
            case Scroll() | Click(button=Button.BACK | Button.FORWARD):
                await self.page.act(action)  # which is over only some frames, or a document, later
            case _:
                await self.page.perform(action)
        await self._run(f"agentenvEpisode.act({json.dumps(self.pace.milliseconds)})")

    async def see(self, wants: Wants, zoom: Zoom | None = None) -> Seen:
        return await self.page.see(wants, zoom)

    async def give_up(self) -> None:
        """Ends the episode as the page does when its time is up."""
        await self._run("core.endEpisode(-1, false, 'given up')")

    async def look_into(self, expression: str) -> Any:
        """The value of an expression in the page, for whoever proves or demonstrates something. Raises as `act`."""
        return await self._evaluate(expression)

    async def _run(self, expression: str) -> None:
        """Lets something happen in the page, and reads what has come of it."""
        told = await self._evaluate(
            "window.agentenvEpisode && agentenvEpisode.begun() ? "
            f"Promise.resolve({expression}).then(() => ({_reading(self.name)})) : null"
        )
        self.reading = Reading.of(told)

    async def _evaluate(self, expression: str) -> Any:
        try:
            return await self.page.evaluate(expression, timeout=_SECONDS)
        except BaseException:
            self.page.spoilt = True  # nobody knows how far it has come
            raise


def _reading(name: str) -> str:
    """The expression that tells what `Reading` is made of."""
    return f"{{...agentenvEpisode.read(), key: agentenvState.key(), ...agentenvOracle.next({json.dumps(name)})}}"
