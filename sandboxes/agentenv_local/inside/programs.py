"""What a child of the warden becomes: a command, Python code, a session, or a look at the files."""

from __future__ import annotations

import atexit
import contextlib
import errno
import io
import linecache
import os
import random
import resource
import signal
import sys
import threading
import traceback
import types
from collections.abc import Callable
from typing import Any, NoReturn

from agentenv_local import wire
from agentenv_local.inside import filework, session
from agentenv_local.jail import files, libc

MAIN = "main.py"
NOT_FOUND, CANNOT_RUN = 127, 126


def prepare(limits: dict[str, int | None], descriptors: tuple[int, ...]) -> None:
    """Takes on a program's limits and the descriptors that came with it (input, output, errors; a session's socket)."""
    _limit(**limits)  # type: ignore[arg-type]
    _arrange(descriptors)


def play(message: wire.Message, place: files.Place) -> NoReturn:
    """Plays one program, which may look into itself: nothing of the warden's is open in it any more."""
    libc.prctl(libc.PR_SET_DUMPABLE, 1)
    os.environ.update(place.variables)
    _KINDS[message["kind"]](message, place)


def _arrange(descriptors: tuple[int, ...]) -> None:
    """Moves the descriptors to 0, 1, 2, …, and closes every other one: the warden's socket among them."""
    lowest = len(descriptors)
    safe = [os.dup(descriptor) for descriptor in descriptors]
    while min(safe) < lowest:
        safe = [os.dup(descriptor) for descriptor in safe]
    for place, descriptor in enumerate(safe):
        os.dup2(descriptor, place, inheritable=place < 3)
    os.closerange(lowest, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _limit(*, cpu: int | None, disk: int, descriptors: int, memory: int | None, pids: int | None) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))  # 0 would still wake a handler of the host that cores are piped to
    if cpu is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    if memory is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    if pids is not None:
        resource.setrlimit(resource.RLIMIT_NPROC, (pids, pids))
    resource.setrlimit(resource.RLIMIT_FSIZE, (disk, disk))
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # who writes too much is told so by write itself


def _command(message: wire.Message, place: files.Place) -> NoReturn:
    argv, env, cwd = message["argv"], os.environ | message["env"], message["cwd"] or place.work
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.chdir(os.path.join(place.work, cwd))
        os.execvpe(argv[0], argv, env)
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        what = argv[0] if os.path.isdir(cwd) else cwd
        os.write(2, f"{what}: {reason}\n".encode())
        missing = isinstance(error, OSError) and error.errno == errno.ENOENT
        os._exit(NOT_FOUND if missing else CANNOT_RUN)


def _python(message: wire.Message, place: files.Place) -> NoReturn:
    """Runs code as the main module, and ends without the interpreter's long farewell."""
    _open_streams()
    reseed(message["seed"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = [MAIN]
    os.chdir(place.work)
    sys.path.insert(0, place.work)
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = main
    os._exit(farewell(lambda: exec(compiled(message["code"], "exec"), main.__dict__)))


def compiled(source: str, mode: str, name: str = MAIN) -> Any:
    """The code of a source text whose lines a traceback can show."""
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    return compile(source, name, mode, dont_inherit=True)


def farewell(run: Callable[[], object]) -> int:
    """Runs the program, says what it died of, waits for its threads, and gives its exit code."""
    code = outcome(run)
    late = outcome(threading._shutdown)  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            late = late or 120
    return code or late


def outcome(run: Callable[[], object]) -> int:
    """The exit code that a program's end stands for, as the interpreter has it."""
    try:
        run()
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return (error.code or 0) & 0xFF
        with contextlib.suppress(Exception):
            sys.stderr.write(f"{error.code}\n")
        return 1
    except BaseException as error:
        report(error)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0


def report(error: BaseException) -> None:
    """Writes a traceback that begins in the program."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("agentenv_local"):
        trace = trace.tb_next
    with contextlib.suppress(Exception):
        sys.stderr.write("".join(traceback.format_exception(type(error), error, trace)))


def reseed(seed: int | None) -> None:
    """Every child has the generators of the zygote; each must have its own."""
    random.seed(seed)
    generators = sys.modules.get("numpy.random")
    if generators is not None:
        generators.seed(None if seed is None else seed % 2**32)


def _open_streams() -> None:
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8", "surrogateescape")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), "utf-8", "surrogateescape")
    errors = io.BufferedWriter(io.FileIO(2, "w", closefd=False))
    sys.stderr = io.TextIOWrapper(errors, "utf-8", "backslashreplace", line_buffering=True)
    vars(sys).update(__stdin__=sys.stdin, __stdout__=sys.stdout, __stderr__=sys.stderr)


def _session(message: wire.Message, place: files.Place) -> NoReturn:
    _open_streams()
    reseed(message["seed"])
    sys.argv = [""]
    os.chdir(place.work)
    sys.path.insert(0, place.work)
    session.serve(3)


def _files(message: wire.Message, place: files.Place) -> NoReturn:
    os._exit(filework.do(place, message["what"], message["arguments"]))


_KINDS: dict[str, Callable[[wire.Message, files.Place], NoReturn]] = {
    "command": _command,
    "python": _python,
    "session": _session,
    "files": _files,
}
