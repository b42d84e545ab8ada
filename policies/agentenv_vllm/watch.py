"""`HealthWatch`: a dead or hung server becomes one clear error within seconds, for every request that waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from agentenv_vllm.api import VLLMApi
from agentenv_vllm.errors import ServerDiedError, ServerError, ServerRefusedError, ServerUnreachableError
from agentenv_vllm.process import ManagedServer

_MISSED = 3
"""How many questions in a row must stay unanswered: one alone may be our own event loop that stood still."""

_LOG = logging.getLogger("agentenv.policy.vllm")


class HealthWatch:
    """Asks the server how it is, and fails what waits for it when it is dead.

    `/health` knows a dead engine but not one that hangs; so where the server has `/is_paused`, which the engine itself
    answers between two steps, that is asked too.

    Args:
        api: an open client.
        server: the process, when it is ours: its end is noticed at once.
        asks_engine: whether the server has `/is_paused`.
        interval: seconds between two questions.
        hang_seconds: a server, or its engine, that is silent for so long hangs.

    Attributes:
        failure: what killed the server; `None` while it is well.
    """

    def __init__(
        self,
        api: VLLMApi,
        server: ManagedServer | None = None,
        *,
        asks_engine: bool = True,
        interval: float = 1.0,
        hang_seconds: float = 30.0,
    ) -> None:
        self._api = api
        self._server = server
        self._asks_engine = asks_engine
        self._interval = interval
        self._patience = hang_seconds / _MISSED
        self._hang_seconds = hang_seconds
        self._waiting: set[asyncio.Timeout] = set()
        self._busy = 0
        self.failure: ServerError | None = None

    async def run(self) -> None:
        """Watches until the server is dead; then every guarded block has failed, and a server of ours is ended."""
        async with asyncio.TaskGroup() as group:
            questions = group.create_task(self._ask())
            end = group.create_task(self._wait_for_end()) if self._server is not None else questions
            done, _ = await asyncio.wait({questions, end}, return_when=asyncio.FIRST_COMPLETED)
            words = "; ".join(task.result() for task in done)
            questions.cancel()
            end.cancel()
        self.fail(ServerDiedError(words))
        if self._server is not None:
            await self._server.stop()

    def fail(self, failure: ServerError) -> None:
        """Ends every guarded block, and every later one, with `failure`. The first one counts."""
        if self.failure is None:
            self.failure = failure
            now = asyncio.get_running_loop().time()
            for limit in self._waiting:
                limit.reschedule(now)

    @asynccontextmanager
    async def guard(self) -> AsyncIterator[None]:
        """For a block that waits for the server: it raises `failure` as soon as there is one."""
        if self.failure is not None:
            raise self._again()
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._waiting.add(limit)
                try:
                    yield
                finally:
                    self._waiting.discard(limit)
        except TimeoutError:
            if limit.expired():
                raise self._again() from None
            raise

    @contextmanager
    def engine_busy(self) -> Iterator[None]:
        """For a block during which the engine rightly answers nothing, as while it loads weights."""
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1

    def _again(self) -> ServerError:
        """The failure as a new exception, since many raise it."""
        assert self.failure is not None
        return type(self.failure)(str(self.failure))

    async def _wait_for_end(self) -> str:
        assert self._server is not None
        code = await self._server.ended()
        return (
            f"the vLLM server of {self._server.folder} ended (exit code {code}). The end of its log, "
            f"{self._server.log}:\n{self._server.tail()}"
        )

    async def _ask(self) -> str:
        """Asks until there is no doubt; returns what is wrong."""
        missed = 0
        while True:
            problem = await self._question()
            missed = missed + 1 if problem is not None else 0
            if problem is not None and (missed >= _MISSED or isinstance(problem, ServerRefusedError)):
                return self._words(problem)
            await asyncio.sleep(self._interval)

    async def _question(self) -> ServerError | None:
        """Asks once; the problem, if there is one."""
        try:
            await self._api.health(timeout=self._patience)
        except ServerRefusedError as error:
            return error if error.status == 503 else None  # a proxy's 404 or 401 says nothing about the engine
        except ServerError as error:
            return error
        if not self._asks_engine or self._busy:
            return None
        asked = self._busy
        try:
            await self._api.get("/is_paused", timeout=self._patience)
        except ServerRefusedError as error:
            _LOG.debug("is_paused: %s", error)  # an engine that is dead is told by /health
        except ServerUnreachableError as error:
            return None if self._busy or asked else error
        return None

    def _words(self, problem: ServerError) -> str:
        where = f" Its log is {self._server.log}." if self._server is not None else " Its own log says why."
        if isinstance(problem, ServerRefusedError):
            return f"the engine of the vLLM server at {self._api.root} is dead.{where}"
        return (
            f"the vLLM server at {self._api.root} gave no answer {_MISSED} times in a row ({problem}); it is dead or "
            f"hangs.{where}"
        )


@asynccontextmanager
async def watching(watch: HealthWatch) -> AsyncIterator[HealthWatch]:
    """`watch.run()` beside the block, ended with it."""
    task = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
