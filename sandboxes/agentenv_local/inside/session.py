"""A Python interpreter that is told what to run, piece by piece, and keeps its variables."""

from __future__ import annotations

import ast
import os
import signal
import socket
import sys
import time
import types
from typing import Any, NoReturn

from agentenv_local import wire


def serve(descriptor: int) -> NoReturn:
    """Runs what comes over the socket until the other side is gone."""
    from agentenv_local.inside import programs

    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = main
    link, pieces = socket.socket(fileno=descriptor), 0
    while True:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is under way that could be interrupted
        reader = wire.Reader(link)
        wire.send(link, {"pid": os.getpid()})
        forked: socket.socket | None = None
        while forked is None:
            for message, descriptors in reader.receive():
                if message["op"] == "fork":
                    forked = _fork(link, descriptors[0])
                    continue
                pieces += 1
                wire.send(link, _run(message["code"], f"<{pieces}>", main.__dict__, descriptors))
            if reader.ended:
                os._exit(programs.farewell(lambda: None))
        link = forked


def _fork(link: socket.socket, descriptor: int) -> socket.socket | None:
    """The socket the child goes on with; `None` in the parent."""
    from agentenv_local.inside import programs

    try:
        pid = os.fork()
    except OSError as error:
        os.close(descriptor)
        wire.send(link, {"forked": False, "error": error.strerror})
        return None
    if pid:
        os.close(descriptor)
        wire.send(link, {"forked": True})
        return None
    link.close()
    os.setsid()
    programs.reseed(None)
    return socket.socket(fileno=descriptor)


def _run(code: str, name: str, variables: dict[str, Any], descriptors: tuple[int, ...]) -> wire.Message:
    """Runs one piece with its own standard output and error, and says how that went."""
    from agentenv_local.inside import programs

    for place, descriptor in enumerate(descriptors, start=1):
        os.dup2(descriptor, place)
        os.close(descriptor)
    began, used = time.perf_counter(), time.process_time()

    def run() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            _execute(code, name, variables)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    exit_code = programs.outcome(run)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            exit_code = exit_code or 120
    _silence()
    return {"code": exit_code, "cpu": time.process_time() - used, "wall": time.perf_counter() - began}


def _execute(code: str, name: str, variables: dict[str, Any]) -> None:
    """As at a prompt: a last expression is shown."""
    from agentenv_local.inside import programs

    programs.compiled(
        code, "exec", name
    )  # so that its mistakes are told as Python tells them, and a traceback finds it
    tree = ast.parse(code, name)
    last = tree.body[-1] if tree.body else None
    if isinstance(last, ast.Expr):
        del tree.body[-1]
    exec(compile(tree, name, "exec", dont_inherit=True), variables)
    if isinstance(last, ast.Expr):
        sys.displayhook(eval(compile(ast.Expression(last.value), name, "eval", dont_inherit=True), variables))


def _silence() -> None:
    """What a thread of the program writes between two pieces goes nowhere: the pipes of the last one must end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for place in (1, 2):
        os.dup2(nowhere, place)
    os.close(nowhere)
