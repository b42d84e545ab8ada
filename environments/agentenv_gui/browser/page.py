"""A page of a browser, in a context of its own: nothing of it is shared with other pages. It is a `Surface`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

from agentenv.clock import deadline
from agentenv.errors import SandboxError
from agentenv_gui.actions import Action, Finish, Look, Zoom
from agentenv_gui.browser.acting import Actor
from agentenv_gui.browser.cdp import COMMAND_SECONDS, BrowserGone, CommandError, Session
from agentenv_gui.browser.chromium import Chromium
from agentenv_gui.browser.clipboard import Clipboard
from agentenv_gui.browser.clock import Clock
from agentenv_gui.browser.eyes import Eyes, tame
from agentenv_gui.browser.hands import Hands
from agentenv_gui.browser.options import USUAL, PageOptions
from agentenv_gui.browser.patience import Patience
from agentenv_gui.browser.pictures import Camera
from agentenv_gui.browser.watch import Watch
from agentenv_gui.marks import marked
from agentenv_gui.seen import Seen, Size, Wants
from agentenv_gui.surface import ActionError

__all__ = ["LOAD_SECONDS", "Page", "PageOptions", "ScriptError", "open_page"]

LOAD_SECONDS = 30.0
SETTLE_SECONDS = 60.0
CLOSE_SECONDS = 10.0


class ScriptError(SandboxError):
    """A script that was run in a page has thrown; the message is the page's."""


class Page:
    """A page, as a surface. `open_page` makes one.

    Its time stands still but for as long as an action takes (`clock`). `act` is `perform` and then `settle`; where a
    page drives a clock of its own, `perform` and a script (`evaluate`) may do instead, which spares some round trips.

    Attributes:
        browser, session, options: what it belongs to, how it is spoken to and how it was made.
        context: the id of its context. spoilt: nobody knows what state it is in: it has failed, or something that was
            going on in it was given up.
    """

    def __init__(self, browser: Chromium, session: Session, options: PageOptions, target: str, context: str) -> None:
        self.browser, self.session, self.options = browser, session, options
        self.context = context
        self.spoilt = False
        self._watch = Watch(session, target)
        self._patience = Patience(session, self._watch, context)
        self._clock = Clock(self._patience, self._watch, browser.drawing)
        self._eyes = Eyes(self._patience, self._watch, target)
        self._hands = Hands(session)
        self._clipboard = Clipboard(browser.copying, self._eyes)
        self._camera = Camera(self._patience, self._clock, self._eyes, options)
        self._actor = Actor(self._patience, self._clock, self._eyes, self._hands, self._clipboard, options.size)

    @property
    def size(self) -> Size:
        """Of its window, in CSS pixels."""
        return self.options.size

    @property
    def usable(self) -> bool:
        """Whether it can be used on: it has not failed, and nothing in it was given up."""
        return not self.spoilt and self.session.connection.knows(self.session.id)

    async def start(self) -> None:
        """What is done once, before anything else."""
        post = self.session.post
        self._watch.start()
        self._camera.start()
        for script in (tame(), *self.options.scripts):
            post("Page.addScriptToEvaluateOnNewDocument", {"source": script})
        self._eyes.start()
        post("Emulation.setFocusEmulationEnabled", {"enabled": True})
        post("Emulation.setTimezoneOverride", {"timezoneId": "UTC"})
        post("Input.setInterceptDrags", {"enabled": True})
        downloads = {"behavior": "deny", "browserContextId": self.context, "eventsEnabled": True}
        post("Browser.setDownloadBehavior", downloads)
        await self._clock.start(self.options.unix)

    async def goto(self, url: str, *, timeout: float = LOAD_SECONDS) -> None:
        """Loads another document, and waits until it is there and has settled.

        Raises:
            SandboxError: it cannot be loaded, or not in time.
        """
        with self._spoiling():
            try:
                async with deadline(timeout):
                    await self._navigate(url)
                    await self._clock.settle()
                    await self._eyes.open()
            except TimeoutError:
                raise SandboxError(f"{url} has not been loaded within {timeout:g} s") from None

    async def evaluate(self, expression: str, *, timeout: float = COMMAND_SECONDS) -> Any:
        """The value of a JavaScript expression, as JSON; `None` for undefined. A promise is waited for.

        No time goes by in the page meanwhile, and no frame is drawn: a promise that waits for a timer, or to have
        scrolled, is waited for in vain.

        Raises:
            ScriptError: it has thrown. SandboxError: the page has failed, or there was no answer in time.
        """
        wanted = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        with self._spoiling():
            answer = await self.session.send("Runtime.evaluate", wanted, timeout=timeout)
        if (thrown := answer.get("exceptionDetails")) is not None:
            raise ScriptError(_words(thrown))
        return answer["result"].get("value")

    async def act(self, action: Action) -> None:
        if isinstance(action, Look | Finish | Zoom):
            return
        await self.perform(action)
        await self.settle()

    async def perform(self, action: Action) -> None:
        """Carries out an action, and waits until the page has taken note of it, but not until it has settled.

        Raises:
            ActionError, SandboxError: as of `act`.
        """
        with self._spoiling():
            await self._actor.perform(action)

    async def settle(self) -> None:
        """Lets the page's time go by until nothing changes any more and nothing is loaded, within bounds.

        Raises:
            SandboxError: the page has failed.
        """
        with self._spoiling():
            try:
                async with deadline(SETTLE_SECONDS):
                    await self._follow()
                    await self._clock.settle()
                    await self._eyes.open()
            except TimeoutError:
                raise SandboxError(f"the page has not settled within {SETTLE_SECONDS:g} s") from None

    async def run_clock(self, seconds: float) -> None:
        """Lets so much of the page's time go by.

        Raises:
            SandboxError: the page has failed.
        """
        with self._spoiling():
            await self._clock.run(seconds)

    async def see(self, wants: Wants, zoom: Zoom | None = None) -> Seen:
        with self._spoiling():
            picture = await self._camera.picture(zoom) if wants.screenshot or wants.marks else None
            seen = await self._eyes.look(tree=wants.tree or wants.focus or wants.marks)
            if picture is not None and wants.marks and seen.tree is not None:
                picture = await marked(picture, seen.tree)
            return replace(seen, screenshot=picture, pointer=self._hands.pointer, notices=self._watch.take())

    async def let_go(self) -> None:
        """Lets go of whatever buttons and keys are held down, and forgets what was copied and what has happened.

        Raises:
            SandboxError: the page has failed.
        """
        with self._spoiling():
            if (done := self._hands.let_go()) is not None:
                await self._patience.answer(done)
        self._clipboard.text = ""
        self._watch.take()

    async def _follow(self) -> None:
        """Shows here what was to be shown in a window of its own."""
        address, self._watch.wanted = self._watch.wanted, None
        if address is not None:
            with contextlib.suppress(CommandError):
                await self._patience.send("Page.navigate", {"url": address})

    async def _navigate(self, url: str) -> None:
        documents = self._watch.documents
        answer = await self.session.send("Page.navigate", {"url": url}, timeout=LOAD_SECONDS)
        if error := answer.get("errorText"):
            raise SandboxError(f"{url} cannot be loaded: {error}")
        if "loaderId" in answer and self._watch.documents == documents:
            self._watch.leaving.add(answer["frameId"])

    @contextlib.contextmanager
    def _spoiling(self) -> Iterator[None]:
        try:
            yield
        except ActionError:
            raise
        except BaseException:
            self.spoilt = True
            raise


@contextlib.asynccontextmanager
async def open_page(browser: Chromium, options: PageOptions = USUAL) -> AsyncIterator[Page]:
    """A page in a new context, both gone at the end of the block.

    Raises:
        SandboxError: the browser has failed.
    """
    connection = browser.connection
    context = (await connection.send("Target.createBrowserContext", options.context))["browserContextId"]
    try:
        yield await _opened(browser, options, context)
    finally:
        with contextlib.suppress(CommandError, BrowserGone):  # it has gone before
            closing = "Target.disposeBrowserContext", {"browserContextId": context}
            await connection.send(*closing, timeout=CLOSE_SECONDS)


async def _opened(browser: Chromium, options: PageOptions, context: str) -> Page:
    connection = browser.connection
    size = {"width": options.size.width, "height": options.size.height}
    wanted = {"url": "about:blank", "browserContextId": context, "enableBeginFrameControl": True, **size}
    target = (await connection.send("Target.createTarget", wanted))["targetId"]
    attached = await connection.send("Target.attachToTarget", {"targetId": target, "flatten": True})
    page = Page(browser, Session(connection, attached["sessionId"]), options, target, context)
    await page.start()
    return page


def _words(thrown: dict[str, Any]) -> str:
    exception = thrown.get("exception", {})
    return str(exception.get("description") or exception.get("value") or thrown.get("text", "it has thrown"))
