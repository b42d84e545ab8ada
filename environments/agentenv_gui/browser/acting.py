"""Carries out actions on a page."""

from __future__ import annotations

import itertools
from typing import Any

from agentenv_gui.actions import (
    Action,
    ButtonDown,
    ButtonUp,
    Choose,
    Click,
    Drag,
    Element,
    Finish,
    Hold,
    KeyDown,
    KeyUp,
    Look,
    Move,
    Press,
    Scroll,
    Target,
    TypeText,
    Wait,
    Zoom,
)
from agentenv_gui.browser.cdp import Answer
from agentenv_gui.browser.clipboard import Clipboard
from agentenv_gui.browser.clock import Clock
from agentenv_gui.browser.eyes import Eyes
from agentenv_gui.browser.hands import Hands
from agentenv_gui.browser.keys import key_of
from agentenv_gui.browser.patience import Patience
from agentenv_gui.seen import Size
from agentenv_gui.surface import ActionError

LONGEST_WAIT = 60.0
"""Seconds of the page's time that one action can let go by."""
MOST_CLICKS = 3
AT_A_TIME = 100
"""Characters that are typed before one waits for the page."""
STEPS = 4
"""Moves of the mouse, a frame each, from one place of a drag to the next."""

Place = tuple[float, float]


class Actor:
    """Carries out actions on one page, and waits until it has taken note of them; not until it has settled."""

    def __init__(
        self, patience: Patience, clock: Clock, eyes: Eyes, hands: Hands, clipboard: Clipboard, size: Size
    ) -> None:
        self._patience, self._clock, self._eyes, self._hands = patience, clock, eyes, hands
        self._clipboard, self._size = clipboard, size

    async def perform(self, action: Action) -> None:
        """Carries it out.

        Raises:
            ActionError: it cannot be; nothing of it was. SandboxError: the page has failed.
        """
        match action:
            case Look() | Finish() | Zoom():
                return
            case Move(to=to):
                await self._point(to)
            case Click():
                await self._click(action)
            case ButtonDown(at=at, button=button):
                await self._point(at)
                await self._patience.answer(self._hands.button_down(button))
            case ButtonUp(at=at, button=button):
                await self._point(at)
                await self._patience.answer(self._hands.button_up(button))
            case Drag():
                await self._drag(action)
            case Scroll():
                await self._scroll(action)
            case TypeText():
                await self._type(action)
            case Press(keys=keys):
                await self._press(keys)
            case KeyDown(key=key):
                await self._patience.answer(self._hands.key_down(key))
            case KeyUp(key=key):
                await self._patience.answer(self._hands.key_up(key))
            case Hold(keys=keys, seconds=seconds):
                await self._hold(keys, seconds)
            case Choose(option=option, of=of):
                await self._eyes.choose(of.id, option)
            case Wait(seconds=seconds):
                await self._clock.run(_a_while(seconds))

    async def _place(self, target: Target) -> Place:
        if isinstance(target, Element):
            return await self._eyes.where(target.id)
        size = self._size
        if not (0 <= target.x < size.width and 0 <= target.y < size.height):
            raise ActionError(
                f"({target.x:g}, {target.y:g}) is not on the screen, which is {size.width} wide and {size.height} high"
            )
        return target.x, target.y

    async def _point(self, target: Target | None) -> None:
        if target is not None:
            place = await self._place(target)
            await self._move(*place)

    async def _move(self, x: float, y: float) -> None:
        """Moves the mouse, and waits until the page knows."""
        self._hands.move(x, y)
        await self._patience.answer(self._hands.flush())

    async def _click(self, click: Click) -> None:
        if not 1 <= click.count <= MOST_CLICKS:
            raise ActionError(f"a click is done 1 to {MOST_CLICKS} times, not {click.count}")
        for key in click.holding:
            key_of(key)
        place = self._hands.pointer if click.at is None else await self._place(click.at)
        self._hold_down(click.holding)
        self._hands.move(*place)
        for count in range(1, click.count + 1):
            self._hands.button_down(click.button, count)
            done = self._hands.button_up(click.button, count)
        done = self._let_go(click.holding) or done
        await self._patience.answer(done)

    async def _scroll(self, scroll: Scroll) -> None:
        for key in scroll.holding:
            key_of(key)
        place = self._hands.pointer if scroll.at is None else await self._place(scroll.at)
        self._hold_down(scroll.holding)
        self._hands.move(*place)
        turned = self._hands.wheel(scroll.right, scroll.down)
        self._let_go(scroll.holding)
        await self._clock.through(turned)

    async def _drag(self, drag: Drag) -> None:
        if len(drag.path) < 2:
            raise ActionError("a drag has at least two places")
        for key in drag.holding:
            key_of(key)
        places = [await self._place(target) for target in drag.path]
        session, hands = self._patience.session, self._hands
        self._hold_down(drag.holding)
        await self._move(*places[0])
        carried = session.expect("Input.dragIntercepted")
        try:
            await self._patience.answer(hands.button_down(drag.button))
            for start, end in itertools.pairwise(places):
                for step in range(1, STEPS + 1):
                    part = step / STEPS
                    await self._move(start[0] + part * (end[0] - start[0]), start[1] + part * (end[1] - start[1]))
                    await self._clock.tick()
            if carried.done():
                await self._drop((await carried)["data"])
            done = hands.button_up(drag.button)
        finally:
            carried.cancel()
        await self._patience.answer(self._let_go(drag.holding) or done)

    async def _drop(self, data: dict[str, Any]) -> None:
        """What the browser carries is not moved by the mouse, but by events of its own."""
        for kind in ("dragEnter", "dragOver", "drop"):
            await self._patience.answer(self._hands.drag_event(kind, data))

    async def _type(self, typing: TypeText) -> None:
        if typing.into is not None:
            await self._click(Click(typing.into))
        if typing.clear and await self._eyes.call("mark") and not typing.text:
            self._hands.key_down("Delete")
            await self._patience.answer(self._hands.key_up("Delete"))
        for number, done in enumerate(self._hands.type(typing.text), 1):
            if number % AT_A_TIME == 0:
                await self._patience.answer(done)
        await self._patience.answer(self._hands.flush())

    async def _press(self, keys: tuple[str, ...]) -> None:
        if not keys:
            raise ActionError("there is no key to press")
        for key in keys:
            key_of(key)
        async with self._clipboard.around(keys):
            self._hold_down(keys)
            done = self._let_go(keys)
            assert done is not None
            await self._patience.answer(done)

    async def _hold(self, keys: tuple[str, ...], seconds: float) -> None:
        for key in keys:
            key_of(key)
        duration = _a_while(seconds)
        self._hold_down(keys)
        await self._clock.run(duration)
        if (done := self._let_go(keys)) is not None:
            await self._patience.answer(done)

    def _hold_down(self, keys: tuple[str, ...]) -> None:
        for key in keys:
            self._hands.key_down(key)

    def _let_go(self, keys: tuple[str, ...]) -> Answer | None:
        done = None
        for key in reversed(keys):
            done = self._hands.key_up(key)
        return done


def _a_while(seconds: float) -> float:
    if not 0 <= seconds <= LONGEST_WAIT:
        raise ActionError(f"one waits 0 to {LONGEST_WAIT:g} seconds, not {seconds:g}")
    return seconds
