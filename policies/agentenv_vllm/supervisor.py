"""Runs a server as a child and leaves nothing of it behind, however the process that asked for it ends.

    python -I -S supervisor.py LOG GRACE_SECONDS COMMAND...

It is a script of its own, of the standard library alone, so that it starts in milliseconds and has one thread. Its
standard input is a pipe that its owner holds open; the end of that pipe, by `close()` or by the owner's death (SIGKILL
included), means: stop. Then every process of the server gets SIGTERM, and SIGKILL after the grace.

A vLLM API server that is killed leaves its engine processes running. On Linux this process therefore adopts orphans
(PR_SET_CHILD_SUBREAPER): whatever descends from the server is found and ended, in whichever group or session it is.
Should this process itself be killed, the server gets SIGTERM (PR_SET_PDEATHSIG).

It writes the server's process id to standard output, and ends with the server's exit code (128 + N after signal N).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LOOK_SECONDS = 1.0
"""How often to look whether the owner still lives, for the case that another process inherited its end of the pipe."""


def main() -> int:
    log, grace, command = sys.argv[1], float(sys.argv[2]), sys.argv[3:]
    owner = os.getppid()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    events, stop_signal = _listen()
    with open(log, "ab", buffering=0) as output:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=lambda: _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM),
        )
    print(server.pid, flush=True)  # noqa: T201
    stdin = sys.stdin.fileno()
    while server.poll() is None and os.getppid() == owner and not stop_signal:
        readable, _, _ = select.select([stdin, events], [], [], _LOOK_SECONDS)
        if events in readable:
            os.read(events, 4096)
        if stdin in readable and not os.read(stdin, 4096):
            break
    _end(server, grace)
    code = server.returncode
    return code if code >= 0 else 128 - code


def _listen() -> tuple[int, list[int]]:
    """A descriptor that is readable after a signal, and the list that SIGTERM is put into. Ctrl-C is the owner's."""
    received: list[int] = []
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return read_end, received


def _end(server: subprocess.Popen[bytes], grace: float) -> None:
    """SIGTERM to all that is left of the server, time to end, then SIGKILL until nothing is left."""
    patience = time.monotonic() + (grace if server.poll() is None else 1.0)  # without its head it ends nothing in order
    _signal_all(server, signal.SIGTERM)
    while _left(server):
        if time.monotonic() > patience:
            _signal_all(server, signal.SIGKILL)
        time.sleep(0.02)


def _left(server: subprocess.Popen[bytes]) -> bool:
    """Whether any process of the server lives; those that ended are reaped."""
    if server.poll() is None:
        return True
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    if _adopts():
        return bool(descendants(os.getpid()))
    try:
        os.killpg(server.pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _signal_all(server: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(server.pid, number)
    for pid in descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _adopts() -> bool:
    return sys.platform == "linux" and os.path.isdir("/proc/self")


def descendants(root: int) -> list[int]:
    """Ids of a process's children, and theirs, by /proc; empty on systems without it."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if _adopts() else ():
        if name.isdecimal():
            with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as file:
                parent = int(file.read().rpartition(b")")[2].split()[1])
                children.setdefault(parent, []).append(int(name))
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)


if __name__ == "__main__":
    sys.exit(main())
