"""Where code goes that may hang, blow up or crash: worker processes that are killed when their time is up.

    equal = await run_isolated("agentenv_math.grading:equivalent", gold, answer, timeout=5.0)

A thread cannot be stopped, and a regular expression or a bignum in C does not even let other threads run; a process
can be killed. The workers are shared by the whole process, started on first use, kept warm, and replaced when killed.

They are forked from a clean server process that has the modules given to `preload` imported, so they never inherit
threads, locks or CUDA state, and a replacement is ready in milliseconds. The script that runs us is not imported by
them: a training script without `if __name__ == "__main__":` does not start again inside a verifier.
"""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import functools
import importlib
import multiprocessing
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from multiprocessing import spawn
from multiprocessing.context import BaseContext
from typing import Any, TypeVar

import pebble

from agentenv.clock import deadline
from agentenv.errors import AgentenvError, VerifierError
from agentenv.threads import THREADS

Result = TypeVar("Result")

START_SECONDS = 60.0
"""How long a worker may take to start and fetch a call, on top of the call's own time."""

MEMORY_BYTES = 8 * 2**30
"""Address space of a worker; beyond it a call gets a `MemoryError` instead of taking the machine down."""

_PROCESS_NAME = "agentenv-isolated"
_PR_SET_PDEATHSIG = 1


class IsolatedTimeoutError(VerifierError):
    """The call did not end in time, and its process was killed."""


class IsolatedCrashError(VerifierError):
    """The process of the call died: a crash in C code, or killed by the system for want of memory."""


def preload(*modules: str) -> None:
    """Names modules that the workers' server imports once, before any worker is made. Call it before first use."""
    _POOL.preload(modules)


async def run_isolated(function: Callable[..., Result] | str, *args: Any, timeout: float) -> Result:
    """Calls `function(*args)` in a worker process and returns its result.

    Args:
        function: importable by name, or its name as ``"module:function"``, which spares this process the import.
        args: pickled; so is the result.
        timeout: seconds the call may run, not counting the wait for a free worker; then the worker is killed.

    Cancelling kills the worker too. An ordinary exception of the function is raised here as it is.

    Raises:
        IsolatedTimeoutError: the time is up.
        IsolatedCrashError: the worker died.
    """
    name = function if isinstance(function, str) else f"{function.__module__}:{function.__qualname__}"
    if name.startswith("__main__:") or "<" in name:
        raise AgentenvError(f"{name} cannot run isolated: it must be a function at the top of an importable module")
    async with _POOL.slot():
        try:
            result: Result
            try:
                result = await _call(name, args, timeout)
            except BrokenExecutor:  # an idle worker was killed and took the pool with it: no fault of this call
                result = await _call(name, args, timeout)
            return result
        except BrokenExecutor as error:
            raise IsolatedCrashError(f"{name}: the worker processes keep dying: {error}") from error


async def _call(name: str, args: tuple[Any, ...], timeout: float) -> Any:
    pool = await _POOL.running()
    try:
        future = pool.schedule(_Remote(name), args=args, timeout=timeout)
    except RuntimeError as error:
        raise BrokenExecutor(str(error)) from error
    try:
        async with deadline(timeout + START_SECONDS):
            return await asyncio.wrap_future(future)
    except TimeoutError as error:
        if _raised_remotely(future):
            raise
        raise IsolatedTimeoutError(f"{name} did not end within {timeout:g} s and was killed") from error
    except pebble.ProcessExpired as error:
        raise IsolatedCrashError(f"{name}: its process died (exit code {error.exitcode})") from error


def _raised_remotely(future: pebble.ProcessFuture) -> bool:
    """Whether it was the function that raised: then pebble has attached the remote traceback as the cause."""
    failure = future.exception() if future.done() and not future.cancelled() else None
    return failure is not None and failure.__cause__ is not None


class _Remote:
    """A function by name. What is unpickled in the worker is the function itself, imported before the clock runs."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __reduce__(self) -> tuple[Any, ...]:
        return _resolve, (self._name,)

    def __call__(self, *args: Any) -> Any:
        return _resolve(self._name)(*args)


def _resolve(name: str) -> Callable[..., Any]:
    """The function `name` stands for, or one that raises what went wrong: an exception here would kill the worker."""
    module, _, attribute = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for step in attribute.split("."):
            found = getattr(found, step)
        return functools.partial(found)
    except Exception as error:
        return functools.partial(_raise, error)


def _raise(error: Exception) -> None:
    raise error


class _SharedPool:
    """This process's one pool, made on first use and again after it broke or this process was forked."""

    def __init__(self) -> None:
        self._pool: pebble.ProcessPool | None = None
        self._owner = 0
        self._lock = threading.Lock()
        self._preloaded: dict[str, None] = {__name__: None}
        self._slots: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]
        self._slots = weakref.WeakKeyDictionary()

    def preload(self, modules: tuple[str, ...]) -> None:
        self._preloaded.update(dict.fromkeys(modules))

    def slot(self) -> asyncio.Semaphore:
        """Admits as many calls of an event loop as there are workers; the rest wait here, where cancelling is free."""
        loop = asyncio.get_running_loop()
        if loop not in self._slots:
            self._slots[loop] = asyncio.Semaphore(worker_count())
        return self._slots[loop]

    async def running(self) -> pebble.ProcessPool:
        pool = self._pool
        if pool is not None and self._owner == os.getpid() and pool.active:
            return pool
        started: pebble.ProcessPool = await THREADS.run(self._start)  # waits for the server's imports
        return started

    def _start(self) -> pebble.ProcessPool:
        with self._lock:
            if self._pool is not None and self._owner == os.getpid():
                if self._pool.active:
                    return self._pool
                self._pool.join()
            self._pool = pebble.ProcessPool(
                max_workers=worker_count(), initializer=_prepare_worker, context=_context(tuple(self._preloaded))
            )
            self._owner = os.getpid()
            assert self._pool.active  # asking starts the workers
            return self._pool

    def stop(self) -> None:
        if self._pool is not None and self._owner == os.getpid():
            self._pool.stop()
            self._pool.join()
            self._pool = None


_POOL = _SharedPool()
atexit.register(_POOL.stop)


def worker_count() -> int:
    """One worker for each processor this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_BASE: Any = multiprocessing.get_context(
    "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
)


class _Worker(_BASE.Process):  # type: ignore[misc]  # which class it is depends on the operating system
    """A worker, known by its name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "name": _PROCESS_NAME})


class _Context(type(_BASE)):  # type: ignore[misc]
    """How workers are started: forked from a server where there is one, otherwise spawned."""

    Process = _Worker


def _context(preloaded: tuple[str, ...]) -> BaseContext:
    spawn.get_preparation_data = _preparation_data
    context: BaseContext = _Context()
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload(list(preloaded))
    return context


_standard_preparation_data = spawn.get_preparation_data


def _preparation_data(name: str) -> dict[str, Any]:
    """What a new process is told about its parent; our workers are not told which script to import."""
    data = _standard_preparation_data(name)
    return data if name != _PROCESS_NAME else {key: value for key, value in data.items() if "init_main" not in key}


def _prepare_worker() -> None:
    """Runs first in every worker: die at once when told to, with the parent, and before memory runs out."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a Python handler would wait for the C code it should interrupt
    if sys.platform != "linux":
        return
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_AS)
    limit = MEMORY_BYTES if most == resource.RLIM_INFINITY else min(MEMORY_BYTES, most)
    resource.setrlimit(resource.RLIMIT_AS, (limit, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _let_server_end()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _let_server_end() -> None:
    """Closes this worker's hold on the server, which lives as long as anyone holds it.

    So when the process that uses us is killed, the server ends, and every worker with it by its parent-death signal,
    even one that is busy in C code.
    """
    forkserver: Any = importlib.import_module("multiprocessing.forkserver")._forkserver
    held = getattr(forkserver, "_forkserver_alive_fd", None)
    if held is not None:
        os.close(held)
        forkserver._forkserver_alive_fd = None
