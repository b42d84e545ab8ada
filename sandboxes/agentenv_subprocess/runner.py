"""What a fresh interpreter does: runs one program, or keeps a session. Imports nothing but the standard library.

python -I runner.py main FD        the program is in this descriptor
python -I runner.py session FD     a socket: {"code"} with descriptors for output and errors, {"code": 0} back
"""

from __future__ import annotations

import ast
import contextlib
import json
import linecache
import os
import random
import signal
import socket
import sys
import traceback
import types
from typing import Any

_LENGTH = 4


def main() -> None:
    kind, descriptor = sys.argv[1], int(sys.argv[2])
    module = types.ModuleType("__main__")
    module.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = module
    sys.path.insert(0, os.getcwd())
    if kind == "main":
        _main(descriptor, module.__dict__)
    else:
        _session(socket.socket(fileno=descriptor), module.__dict__)


def _main(descriptor: int, variables: dict[str, Any]) -> None:
    with open(descriptor, encoding="utf-8") as file:
        given = json.load(file)
    sys.argv = ["main.py"]
    if given["seed"] is not None:
        random.seed(given["seed"])
    try:
        exec(_compiled(given["code"], "main.py"), variables)
    except SystemExit:
        raise
    except BaseException as error:
        _report(error)
        sys.exit(1)


def _session(link: socket.socket, variables: dict[str, Any]) -> None:
    sys.argv = [""]
    pieces = 0
    while True:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        head, descriptors, _, _ = socket.recv_fds(link, _LENGTH, 2)
        if len(head) < _LENGTH:
            return
        length, body = int.from_bytes(head, "big"), b""
        while len(body) < length:
            body += link.recv(length - len(body))
        pieces += 1
        for place, descriptor in enumerate(descriptors, start=1):
            os.dup2(descriptor, place)
            os.close(descriptor)
        code = _run(json.loads(body)["code"], f"<{pieces}>", variables)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for place in (1, 2):
            os.dup2(nowhere, place)
        os.close(nowhere)
        link.sendall(bytes([code]))


def _run(code: str, name: str, variables: dict[str, Any]) -> int:
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _compiled(code, name)
        tree = ast.parse(code, name)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, name, "exec"), variables)
        if isinstance(last, ast.Expr):
            sys.displayhook(eval(compile(ast.Expression(last.value), name, "eval"), variables))
    except SystemExit as error:
        return error.code & 0xFF if isinstance(error.code, int) else int(error.code is not None)
    except BaseException as error:
        _report(error)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return 0


def _compiled(source: str, name: str) -> types.CodeType:
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    return compile(source, name, "exec", dont_inherit=True)


def _report(error: BaseException) -> None:
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    sys.stderr.write("".join(traceback.format_exception(type(error), error, trace)))


if __name__ == "__main__":
    main()
