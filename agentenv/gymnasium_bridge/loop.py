"""Calling asynchronous code from synchronous code, also where an event loop is running already."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from agentenv.errors import AgentenvError, EpisodeTimeout

Result = TypeVar("Result")


class LoopThread:
    """One event loop in a daemon thread, started on first use and again in a process that was forked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._owner = 0

    def run(self, coroutine: Coroutine[Any, Any, Result], timeout: float, what: str) -> Result:
        """Runs a coroutine to its end and returns its result; the caller waits, a notebook's own loop with it.

        Interrupting the wait (Ctrl-C) cancels the coroutine.

        Raises:
            EpisodeTimeout: it took longer than `timeout` seconds; it was cancelled.
        """
        loop = self._running()
        if self._thread is threading.current_thread():
            coroutine.close()
            raise AgentenvError(f"{what} was called on the bridge's own event loop, which it would wait for forever")
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        try:
            return future.result(timeout)
        except TimeoutError as error:
            if future.done():
                raise
            raise EpisodeTimeout(f"{what} took longer than {timeout:g} s") from error
        finally:
            future.cancel()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._owner != os.getpid():
                self._loop = asyncio.new_event_loop()
                self._owner = os.getpid()
                self._thread = threading.Thread(target=self._loop.run_forever, name="agentenv-gymnasium", daemon=True)
                self._thread.start()
            return self._loop


LOOP = LoopThread()
"""The loop all bridged environments of a process share."""
