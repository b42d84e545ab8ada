"""A page's own time: it stands still, but for as long as it is told to run.

Nothing of a page goes on while a policy thinks: timers, dates, animations, frames. Time runs in steps of a frame: the
browser's virtual time is let run for so long, which skips what nobody waits for and so takes a millisecond, and stands
still where an answer from the network is waited for; then the frame is drawn. So the same actions come to the same
state, however long they are apart and however fast the machine is. Only the timers of workers run by the real time.
"""

from __future__ import annotations

import asyncio
from typing import Any

from agentenv.clock import deadline
from agentenv_gui.browser.cdp import Answer, BrowserStuck
from agentenv_gui.browser.keys import key_of
from agentenv_gui.browser.patience import SCRIPT_SECONDS, Patience
from agentenv_gui.browser.watch import Watch

FRAME = 16.0
"""Milliseconds of the page's time from one frame to the next."""
SLOW_FRAME = 100.0
"""The same where long stretches of time go by."""
SLOW_AFTER = 1_000.0
QUIET_FRAMES = 2
"""Frames in a row in which nothing changes: then a page has settled."""
MOST_FRAMES = 100
"""Frames that are drawn for a page to take note of its input; two are enough if it is well."""
SETTLING = 500.0
"""Milliseconds of the page's time after which nobody waits any longer for a page that changes all the time."""
LOADING = 5_000.0
"""The same where a document is being loaded. Time for the network does not count."""
NETWORK_SECONDS = 10.0
"""Seconds, of real time, that an answer from the network is waited for."""
PICTURE_SECONDS = 2.0
"""Seconds, of real time, that a picture may take."""
TURN_SECONDS = 60.0
"""Seconds that one waits for other pages to draw."""
MOST_TASKS = 1_000
"""Tasks in a row without any time going by; a page that goes on and on in this way is moved on."""

_TINY = 0.001
"""Milliseconds between two frames at the same time; the browser wants them to differ."""


class Clock:
    """The clock of one page.

    Args:
        patience: of the page's session. watch: what happens there by itself.
        turn: held by the page of the browser that draws a frame.
    """

    def __init__(self, patience: Patience, watch: Watch, turn: asyncio.Lock) -> None:
        self._patience, self._watch, self._turn = patience, watch, turn
        self._now = self._drawn = 0.0
        self._policy = "pauseIfNetworkFetchesPending"
        self._document = 0

    async def start(self, unix: float) -> None:
        """Stops the time of a page that was just opened, at this time of day in seconds of Unix."""
        stopped = await self._patience.send(
            "Emulation.setVirtualTimePolicy", {"policy": "pause", "initialVirtualTime": unix}
        )
        self._now = self._drawn = float(stopped["virtualTimeTicksBase"])

    async def tick(self, milliseconds: float = FRAME) -> bool:
        """Lets time run for one frame, and draws it. Returns whether it differs from the one before."""
        await self._advance(milliseconds)
        return bool((await self.frame()).get("hasDamage"))

    async def frame(self, **screenshot: Any) -> dict[str, Any]:
        """Draws a frame; no time goes by.

        Args:
            screenshot: parameters of the picture that is taken of it, if one is.

        Returns:
            The browser's answer: `hasDamage`, `screenshotData`.
        """
        await self._its_turn()
        self._drawn = max(self._now, self._drawn + _TINY)
        params: dict[str, Any] = {"frameTimeTicks": self._drawn, "interval": FRAME}
        if screenshot:
            params["screenshot"] = screenshot
        drawn = self._patience.session.post("HeadlessExperimental.beginFrame", params)
        drawn.add_done_callback(lambda _: self._turn.release())  # also where whoever waits for it is cancelled
        if screenshot:
            await self._without_popups(drawn)
        return await self._patience.answer(drawn)

    async def _its_turn(self) -> None:
        try:
            async with deadline(TURN_SECONDS):
                await self._turn.acquire()
        except TimeoutError:
            raise BrowserStuck(f"another page has been drawing a frame for {TURN_SECONDS:g} s") from None

    async def _without_popups(self, drawn: Answer) -> None:
        """A list or a calendar in a window of its own keeps a picture from being taken for as long as it is open."""
        await asyncio.wait([drawn], timeout=PICTURE_SECONDS)
        if drawn.done():
            return
        await self._patience.send("Runtime.evaluate", {"expression": "0"})  # or is it a script?
        if not drawn.done():
            for kind in ("rawKeyDown", "keyUp"):
                self._patience.session.post("Input.dispatchKeyEvent", {"type": kind, **key_of("Escape").parameters})
            self._watch.notice("Something that opened in a window of its own was closed.")

    async def run(self, seconds: float) -> None:
        """Lets so much time go by."""
        left = seconds * 1_000
        gone = 0.0
        while left > 0:
            step = min(left, FRAME if gone < SLOW_AFTER else SLOW_FRAME)
            await self.tick(step)
            gone, left = gone + step, left - step

    async def settle(self) -> None:
        """Lets time go by until nothing changes any more, and nothing is being loaded.

        A page that changes all the time is left to itself after `SETTLING` or `LOADING`.
        """
        quiet, gone = 0, 0.0
        while quiet < QUIET_FRAMES and gone < (LOADING if self._watch.loading else SETTLING):
            await self._arrived()
            changed = await self.tick()
            gone += FRAME
            quiet = 0 if changed or self._watch.restless else quiet + 1

    async def through(self, sent: Answer) -> None:
        """Until the page has taken note of input that it takes note of when it draws a frame. No time goes by."""
        for _ in range(MOST_FRAMES):
            # So the input is there before the frame.
            await self._patience.send("Runtime.evaluate", {"expression": "0"})
            await self.frame()
            await asyncio.wait([sent], timeout=FRAME / 1_000)
            if sent.done():
                break
        await self._patience.answer(sent)

    async def _advance(self, milliseconds: float) -> None:
        if self._document != self._watch.documents:
            self._document, self._policy = self._watch.documents, "pauseIfNetworkFetchesPending"
        session = self._patience.session
        run_out = session.expect("Emulation.virtualTimeBudgetExpired")
        begun = session.post(
            "Emulation.setVirtualTimePolicy",
            {"policy": self._policy, "budget": milliseconds, "maxVirtualTimeTaskStarvationCount": MOST_TASKS},
        )
        if not await self._in_time(run_out):
            await self._patience.answer(begun)
            self._watch.notice("The page still waits for an answer from the network.")
            self._policy = "advance"
            session.post("Emulation.setVirtualTimePolicy", {"policy": self._policy})  # what was granted still counts
            await self._patience.answer(run_out)
        session.post("Emulation.setVirtualTimePolicy", {"policy": "pause"})
        self._now += milliseconds

    async def _in_time(self, run_out: Answer) -> bool:
        """Waits until time has run out; if it does not, it stands still for the network."""
        first = min(SCRIPT_SECONDS, NETWORK_SECONDS)
        for seconds in (first, NETWORK_SECONDS - first):
            try:
                await self._patience.session.answer(asyncio.shield(run_out), seconds)
            except BrowserStuck:
                await self._patience.send("Runtime.evaluate", {"expression": "0"})  # or is it a script?
            else:
                return True
        return run_out.done()

    async def _arrived(self) -> None:
        """Until another document is there, if one is on its way; the old one's time stands still."""
        try:
            await self._watch.arrived(NETWORK_SECONDS)
        except BrowserStuck:
            # Nothing can be asked of a page that waits for another document.
            await self._patience.session.send("Page.stopLoading")
            self._watch.notice("Another document has not come, and is not waited for any more.")
            self._watch.stay()
