"""A headless Chromium as a child process: found, started, spoken to, and ended with everything that belongs to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import IO, Self

from agentenv.clock import deadline
from agentenv.errors import ConfigError, MissingDataError, SandboxError
from agentenv_gui.browser.cdp import BrowserGone, BrowserStuck, Connection

PROGRAM_VARIABLE = "AGENTENV_CHROMIUM"
"""The environment variable that names the browser's program, where it is not found by itself."""

PROGRAMS = ("/usr/lib/chromium/chromium-headless-shell", "chromium-headless-shell", "chrome-headless-shell")
"""Debian's, which is wrapped in a script, and the one of "Chrome for Testing".

It has to be the headless shell. Only there are frames drawn when we say so and not every sixtieth of a second, which is
why a screenshot takes 10 ms instead of 50, and why animations can stand still (`HeadlessExperimental.beginFrame`).
"""
PROFILE_PREFIX = "agentenv-chromium-"
START_SECONDS = 60.0
STOP_SECONDS = 5.0
"""What a browser is given to end in order, before it is killed."""

_KEEPER = Path(__file__).with_name("keeper.py")
_LAST_WORDS = 2_000
"""Characters of what the browser wrote, in an error's message."""

NOWHERE = "nowhere.invalid"
"""The proxy of whatever a page may not reach."""

_OFF = (
    "BackForwardCache",  # a page that was left is gone
    "DeferRendererTasksAfterInput",  # after a click, an answer from the network would wait for a frame
    "PaintHolding",
    "Prerender2",
    "RenderDocument",
)
FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--disable-gpu",
    "--in-process-gpu",  # one process less, and frames have a shorter way
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-domain-reliability",
    "--disable-breakpad",
    "--disable-crash-reporter",
    "--disable-dev-shm-usage",
    "--disable-hang-monitor",
    f"--disable-features={','.join(_OFF)}",
    # Nothing is slowed down for being out of sight: nothing is ever in sight.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    # One process for each context, whichever sites its frames come from: one session sees and times them all, and the
    # clock of the page goes on where another document begins.
    "--disable-site-isolation-trials",
    "--renderer-process-limit=1",
    "--block-new-web-contents",
    # Whatever is not allowed goes to a proxy that is not there; its name is not asked for, and nothing goes without it.
    f"--host-resolver-rules=MAP {NOWHERE} ~NOTFOUND",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    # Frames are drawn when we say so (`clock`), whole, and taken note of at once.
    "--enable-begin-frame-control",
    "--run-all-compositor-stages-before-draw",
    "--disable-new-content-rendering-timeout",
    "--disable-threaded-animation",
    "--disable-threaded-scrolling",
    "--disable-smooth-scrolling",
    "--disable-checker-imaging",
    "--disable-image-animation-resync",
    "--allow-pre-commit-input",
    # The same on every machine.
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
    "--hide-scrollbars",
    "--mute-audio",
    "--password-store=basic",
    "--lang=en-US",
)


def find() -> str:
    """The browser's program.

    Raises:
        ConfigError: AGENTENV_CHROMIUM names no program. MissingDataError: there is none on this machine.
    """
    if named := os.environ.get(PROGRAM_VARIABLE):
        if (found := shutil.which(named)) is None:
            raise ConfigError(f"{PROGRAM_VARIABLE} is {named!r}, and there is no such program")
        return found
    for name in PROGRAMS:
        if (found := shutil.which(name)) is not None:
            return found
    raise MissingDataError(
        "no headless Chromium is installed: `apt-get install chromium-headless-shell` on Debian, or set "
        f"{PROGRAM_VARIABLE} to a chrome-headless-shell (from 'Chrome for Testing')"
    )


class Chromium:
    """A running browser, with a profile of its own in a temporary folder. An asynchronous context manager.

    Args:
        flags: more of them, for its command line.

    Attributes:
        connection: to it. pid: of its first process.
        drawing: held while a page draws a frame: a second one at the same time is the end of the browser.
        copying: held while a page uses the clipboard, of which there is one for all pages.

    Example:
        async with Chromium() as browser, open_page(browser) as page:
            await page.goto("data:text/html,<h1>Hello</h1>")

    Raises:
        ConfigError, MissingDataError: as `find`. SandboxError: it does not start; the message has its last words.
    """

    connection: Connection

    def __init__(self, *, flags: tuple[str, ...] = ()) -> None:
        self.pid = 0
        self.drawing, self.copying = asyncio.Lock(), asyncio.Lock()
        self._flags = flags
        self._keeper: asyncio.subprocess.Process | None = None
        self._profile: str | None = None
        self._stderr: IO[bytes] | None = None

    @property
    def alive(self) -> bool:
        """Whether it can be spoken to."""
        return self._keeper is not None and self._keeper.returncode is None and not self.connection.closed

    async def __aenter__(self) -> Self:
        program = find()
        try:
            async with deadline(START_SECONDS):
                await self._start(program)
        except BaseException as error:
            await self._end(force=True)
            said = self._last_words()
            if isinstance(error, TimeoutError | BrowserStuck):
                raise SandboxError(f"{program} has not become ready within {START_SECONDS:g} s. {said}") from None
            if isinstance(error, BrowserGone | ValueError):
                raise SandboxError(f"{program} has ended at once. {said}") from None
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self, *, force: bool = False) -> None:
        """Ends it: in order within `STOP_SECONDS`, and else, or at once, by force. Twice is fine."""
        if self.alive and not force:
            self.connection.post("Browser.close")
        await self._end(force)

    async def _start(self, program: str) -> None:
        self._profile = tempfile.mkdtemp(prefix=PROFILE_PREFIX)
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this object
        ours, theirs = socket.socketpair()
        try:
            command = [program, *FLAGS, *_as_root(), *self._flags, f"--user-data-dir={self._profile}"]
            with theirs:
                self._keeper = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-I", "-S", str(_KEEPER)),
                    *(str(theirs.fileno()), self._profile, f"{STOP_SECONDS:g}", *command),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=self._stderr,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
            assert self._keeper.stdout is not None
            self.pid = int(await self._keeper.stdout.readline())
            self.connection = await Connection.over(ours)
        except BaseException:
            ours.close()
            raise
        await self.connection.send("Browser.getVersion", timeout=START_SECONDS)

    async def _end(self, force: bool) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            assert keeper.stdin is not None
            if force:
                self._kill()
            keeper.stdin.close()
            ended = asyncio.ensure_future(keeper.wait())
            try:
                await asyncio.wait([ended], timeout=2 * STOP_SECONDS)
            finally:
                if not ended.done():
                    self._kill()
                    await asyncio.wait([ended], timeout=STOP_SECONDS)
                if not ended.done():
                    keeper.kill()
                    await ended
        if self.pid:
            self.connection.close()
        if self._profile is not None:
            shutil.rmtree(self._profile, ignore_errors=True)  # the keeper has done it, unless there was none
            self._profile = None

    def _kill(self) -> None:
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def _last_words(self) -> str:
        """The end of what it wrote to its standard error, but for complaints that say nothing."""
        if self._stderr is None:
            return ""
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").splitlines()
        return "\n".join(line for line in lines if ":dbus/" not in line)[-_LAST_WORDS:]


def _as_root() -> tuple[str, ...]:
    """Chromium's own sandbox refuses to run as root."""
    return ("--no-sandbox",) if os.geteuid() == 0 else ()
