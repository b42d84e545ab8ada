"""The zygote: imports what programs will need, once, and forks a walled-off warden for every sandbox.

    python -I -m agentenv_local.inside.zygote SOCKET_FD PRELOAD…

It is single-threaded, so that a fork has all there is; it holds nothing but modules; and when the process at the other
end of its socket is gone, however it went, it ends every sandbox, removes their control groups, and ends itself.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import secrets
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from agentenv_local import wire
from agentenv_local.inside import warden
from agentenv_local.jail import cgroups, files, landlock, libc, walls

_FIRST_UID, _UIDS = 1_500_000_000, 500_000_000
"""Users of the host that nobody has: each sandbox's processes belong to another one."""

_PATIENCE_SECONDS = 10.0
"""How long a step of walling off may take."""


@dataclass(slots=True)
class _Cell:
    """A sandbox as the zygote sees it: the warden's process, its group, and a descriptor that tells of its end."""

    number: int
    pid: int
    group: cgroups.Group
    ended: int


class Zygote:
    """Serves one client until it is gone."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._reader = wire.Reader(link)
        self._selector = selectors.DefaultSelector()
        self._cells: dict[int, _Cell] = {}
        self._readable = files.readable_paths()
        self._groups = cgroups.find()

    def serve(self) -> None:
        libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
        self._selector.register(self._link, selectors.EVENT_READ)
        wire.send(self._link, {"ready": os.getpid(), "landlock": landlock.version()})
        try:
            while not self._reader.ended:
                for key, _ in self._selector.select():
                    if key.data is None:
                        self._obey()
                    else:
                        self._bury(key.data)
        finally:
            self._end_all()

    def _obey(self) -> None:
        for message, descriptors in self._reader.receive():
            number = message["id"]
            match message["op"]:
                case "create":
                    self._create(number, message, descriptors[0])
                case "destroy" if number in self._cells:
                    os.kill(self._cells[number].pid, signal.SIGKILL)
                case "count":
                    cell = self._cells.get(number)
                    self._tell({"counted": number, **({} if cell is None else _fields(cell.group.count()))})

    def _create(self, number: int, message: dict[str, Any], descriptor: int) -> None:
        group: cgroups.Group | None = None
        try:
            group = self._groups.make(memory_bytes=message["memory"], pids=message["pids"] + 1)
            space = files.Space(message["disk"], message["files"])
            pid = self._fork_walled(walls.Plan(space, self._readable), group, descriptor)
        except (OSError, ValueError) as error:
            if group is not None:
                cgroups.remove(group)
            self._tell({"failed": number, "error": str(error)})
            return
        finally:
            os.close(descriptor)
        cell = _Cell(number, pid, group, os.pidfd_open(pid))
        self._cells[number] = cell
        self._selector.register(cell.ended, selectors.EVENT_READ, cell)
        self._tell({"created": number, "pid": pid})

    def _fork_walled(self, plan: walls.Plan, group: cgroups.Group, link: int) -> int:
        """Forks a process that divides the namespaces and forks the warden, the first process of its own."""
        mine, theirs = socket.socketpair()
        middle = os.fork()
        if middle == 0:
            mine.close()
            _divide(theirs, plan, link)
        theirs.close()
        mine.settimeout(_PATIENCE_SECONDS)
        with mine:
            try:
                _expect(mine)
                uid = _FIRST_UID + secrets.randbelow(_UIDS) if os.geteuid() == 0 else os.geteuid()
                walls.name_user(middle, uid, uid if os.geteuid() == 0 else os.getegid())
                cgroups.join(group, middle)
                mine.sendall(b"\n")
                pid = int(_expect(mine))
            except BaseException:
                os.kill(middle, signal.SIGKILL)
                raise
            finally:
                os.waitpid(middle, 0)
            try:
                mine.sendall(b"\n")  # its parent is gone, so it is this process's child now
                _expect(mine)
            except OSError:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise
        return pid

    def _bury(self, cell: _Cell) -> None:
        """A warden has ended, and so has everything in its sandbox."""
        self._selector.unregister(cell.ended)
        os.close(cell.ended)
        del self._cells[cell.number]
        _, status = os.waitpid(cell.pid, 0)
        counted = _fields(cell.group.count())
        with contextlib.suppress(OSError):
            cgroups.remove(cell.group)
        self._tell({"gone": cell.number, "code": os.waitstatus_to_exitcode(status), **counted})

    def _end_all(self) -> None:
        for cell in self._cells.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(cell.pid, signal.SIGKILL)
        for cell in list(self._cells.values()):
            self._bury(cell)

    def _tell(self, message: wire.Message) -> None:
        with contextlib.suppress(OSError):  # whoever is gone is noticed by reading
            wire.send(self._link, message)


def _divide(link: socket.socket, plan: walls.Plan, descriptor: int) -> NoReturn:
    """The process in the middle: new namespaces, a warden in them, and out."""
    try:
        libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
        walls.divide()
        link.sendall(b"ok\n")
        _expect(link)
        pid = os.fork()
        if pid == 0:
            _be_warden(link, plan, descriptor)
        link.sendall(f"{pid}\n".encode())
    except BaseException as error:
        _complain(link, error)
        os._exit(1)
    os._exit(0)


def _be_warden(link: socket.socket, plan: walls.Plan, descriptor: int) -> NoReturn:
    code = 1
    try:
        _expect(link)
        os.setsid()
        kept = os.dup(descriptor)
        walls.wall_off(plan)
        libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)  # now, since becoming another user has undone it
        link.sendall(b"ok\n")
        link.close()
        os.dup2(kept, 3)
        os.closerange(4, 2**16)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for place in (0, 1, 2):
            os.dup2(nowhere, place)
        os.close(nowhere)
        warden.Warden(socket.socket(fileno=3)).serve()
        code = 0
    except BaseException as error:
        _complain(link, error)
    os._exit(code)


def _expect(link: socket.socket) -> str:
    """A line from the other side of a fork.

    Raises:
        OSError: it failed, and says how; or is gone.
    """
    line = b""
    while not line.endswith(b"\n"):
        piece = link.recv(1)
        if not piece:
            raise ConnectionAbortedError("the forked process ended before it was ready")
        line += piece
    text = line.decode().rstrip("\n")
    if text.startswith("!"):
        raise OSError(text[1:])
    return text


def _complain(link: socket.socket, error: BaseException) -> None:
    text = str(error) if isinstance(error, OSError) else "".join(traceback.format_exception(error)).replace("\n", " | ")
    with contextlib.suppress(OSError):
        link.sendall(f"!{text}\n".encode())


def _fields(counted: cgroups.Counted) -> dict[str, float]:
    return {name: getattr(counted, name) for name in cgroups.Counted.__slots__}


def main() -> None:
    link = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the socket tells when it is over, and then there is work to do
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _prepare(sys.argv[2:])
        zygote = Zygote(link)
    except OSError as error:
        wire.send(link, {"failed": None, "error": str(error)})
    else:
        zygote.serve()


def _prepare(modules: Sequence[str]) -> None:
    """Clears away what a zygote that was killed has left, and imports what programs will need.

    Raises:
        OSError: a module cannot be had, or cannot be forked.
    """
    cgroups.sweep()
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:
            raise OSError(f"cannot import {name}: {type(error).__name__}: {error}") from error
        if len(os.listdir("/proc/self/task")) > 1:
            raise OSError(f"{name} starts threads, which no fork takes along")
    if "numpy" in sys.modules:
        importlib.import_module("numpy.random")  # which numpy itself imports late, and every program would again
    gc.collect()
    gc.freeze()  # so that a child's collector touches no page it shares


if __name__ == "__main__":
    main()
