"""A program in a session of its own sandbox, called from outside one call after the other."""

from __future__ import annotations

import json
import secrets
from types import TracebackType

from agentenv.errors import SandboxError
from agentenv.sandbox import Cause, PythonSession, Sandbox, SandboxFailed
from agentenv_code.grading.bundle import DRIVER, bundle
from agentenv_code.grading.replies import SILENT, Outcome, Reply, read_replies
from agentenv_code.grading.verdict import Tampering
from agentenv_code.inside.plain import Wire

_SLOW = Reply(Outcome.SLOW)
_GRACE_SECONDS = 1.0
"""How much longer the session may take than the driver, which ends a slow call itself if it can."""


class Candidate:
    """A program that is loaded when it is first called, and remembers what it did from one call to the next.

    An asynchronous context manager; entering it does nothing yet.

    Args:
        sandbox: where nobody else is. seconds: for loading it, and for each call.
    """

    def __init__(self, sandbox: Sandbox, code: str, seconds: float) -> None:
        self._sandbox, self._code, self._seconds = sandbox, code, seconds
        self._key = secrets.token_hex(8)
        self._session: PythonSession | None = None
        self.calls = 0
        self.tampering: set[Tampering] = set()

    async def __aenter__(self) -> Candidate:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(self, name: str, args: list[Wire], kwargs: dict[str, Wire]) -> Reply:
        """What one call leads to.

        Raises:
            SandboxFailed: the sandbox failed; that the program ended its session is an answer.
        """
        self.calls += 1
        if self._session is None:
            self._session = await self._sandbox.python()
            begin = f"driver = inside.Driver({self._key!r}, {self._code!r}, {self._seconds!r})\ndriver.load()\n"
            loaded = await self._run(f"{bundle(DRIVER)}{begin}driver.answer('[]')")
            if loaded.outcome is not Outcome.RETURNED:
                return loaded
        call = {"name": name, "args": args, "kwargs": kwargs, "left": False}
        return await self._run(f"driver.answer({json.dumps([call])!r})")

    async def _run(self, code: str) -> Reply:
        assert self._session is not None
        try:
            result = await self._session.run(code, wall_seconds=self._seconds + _GRACE_SECONDS)
        except Exception as error:  # the program may have broken the session in any way
            await self._insist_on_the_sandbox(error)
            self.tampering.add(Tampering.ENDED)
            return SILENT
        replies = read_replies(result, self._key)
        self.tampering |= replies.tampering
        if result.cause not in (Cause.OK, Cause.PROGRAM_ERROR):
            return _SLOW if result.cause in (Cause.WALL, Cause.CPU) else SILENT
        return (replies.calls or [replies.loaded or SILENT])[0]

    async def _insist_on_the_sandbox(self, error: Exception) -> None:
        """Raises unless the sandbox still works, in which case it was the program that ended its session."""
        key = secrets.token_hex(8)
        try:
            result = await self._sandbox.run_python(f"print({key!r})")
        except SandboxError:
            raise error from None
        if result.stdout.text.strip() != key:
            raise SandboxFailed(f"the sandbox {self._sandbox.id} does not answer: {result.message}", result) from error
