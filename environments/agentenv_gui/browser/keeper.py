"""Runs a browser as a child and leaves nothing of it behind, however the process that asked for it ends.

    python -I -S keeper.py LINE PROFILE GRACE_SECONDS COMMAND...

It is a script of its own, of the standard library alone, so that it starts in milliseconds and has one thread. LINE is
the number of a descriptor, which the browser gets as its descriptors 3 and 4 (`--remote-debugging-pipe`). Standard
input is a pipe that its owner holds open; the end of that pipe, by `close()` or by the owner's death (SIGKILL too),
means: stop. The browser, which has lost its own line as well, is given the grace to end, then every process of it gets
SIGKILL. The folder PROFILE is removed.

On Linux this process adopts the browser's orphans (PR_SET_CHILD_SUBREAPER), to find them in whichever group they are;
should it be killed itself, so is the browser (PR_SET_PDEATHSIG). It writes the browser's process id to standard output,
and ends with the browser's exit code (128 + N after signal N).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LOOK_SECONDS = 1.0
"""How often to look whether the owner still lives, for the case that another process inherited its end of the pipe."""


def main() -> int:
    line, profile, grace, command = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), sys.argv[4:]
    owner = os.getppid()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    children = _told_of_children()
    browser = Browser(command, line)
    os.close(line)
    print(browser.pid, flush=True)  # noqa: T201
    stdin = sys.stdin.fileno()
    while browser.lives() and os.getppid() == owner:
        readable, _, _ = select.select([stdin, children], [], [], _LOOK_SECONDS)
        if children in readable:
            os.read(children, 4096)
        if stdin in readable and not os.read(stdin, 4096):
            _wait(browser, children, grace)
            break
    while browser.lives() or browser.others():
        browser.kill()
        time.sleep(0.005)
    shutil.rmtree(profile, ignore_errors=True)
    return browser.code


class Browser:
    """The browser's first process and all that have come from it.

    Attributes:
        pid: of the first. code: that it has ended with.
    """

    def __init__(self, command: list[str], line: int) -> None:
        self.code = 0
        self._ended = False
        self.pid = os.fork()
        if self.pid == 0:
            _become(command, line)

    def lives(self) -> bool:
        """Whether the first process does. What has ended is reaped."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                if pid == self.pid:
                    self._ended = True
                    code = os.waitstatus_to_exitcode(status)
                    self.code = code if code >= 0 else 128 - code
        return not self._ended

    def others(self) -> bool:
        """Whether any of those that it has left behind does."""
        if sys.platform == "linux":
            return bool(_children())  # orphans come here one by one, as their parents end
        try:
            os.killpg(self.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        for pid in _children():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _become(command: list[str], line: int) -> None:
    """What the child does: it becomes the browser, or ends with 127 and a line that says why."""
    try:
        os.setsid()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        held, nothing = os.dup(line), os.open(os.devnull, os.O_RDWR)  # the line itself may be 3 or 4
        os.set_inheritable(line, False)
        for number, wanted in ((nothing, 0), (nothing, 1), (held, 3), (held, 4)):
            os.dup2(number, wanted)
        os.execv(command[0], command)
    except BaseException as error:
        os.write(2, f"{command[0]}: {error}\n".encode())
    finally:
        os._exit(127)


def _told_of_children() -> int:
    """A descriptor that is readable after a child has ended. SIGTERM and Ctrl-C are the owner's to answer."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, frame: None)  # unlike SIG_IGN, not inherited by the browser
    return reading


def _wait(browser: Browser, children: int, seconds: float) -> None:
    """Until the browser has ended, at most so long."""
    until = time.monotonic() + seconds
    while browser.lives() and (left := until - time.monotonic()) > 0:
        if select.select([children], [], [], left)[0]:
            os.read(children, 4096)


def _children() -> list[int]:
    """Ids of this process's children, by /proc; empty on systems without it."""
    found = []
    own = os.getpid()
    for name in os.listdir("/proc") if sys.platform == "linux" else ():
        if name.isdecimal():
            with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as file:
                if int(file.read().rpartition(b")")[2].split()[1]) == own:
                    found.append(int(name))
    return found


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)


if __name__ == "__main__":
    sys.exit(main())
