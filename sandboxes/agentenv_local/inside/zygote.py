"""The zygote: imports what programs will need, once, and forks a walled-off warden for every sandbox.

    python -I -m agentenv_local.inside.zygote SOCKET_FD namespaces|restricted PRELOAD…

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
import shutil
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from agentenv_local import wire
from agentenv_local.inside import family, warden
from agentenv_local.jail import cgroups, files, landlock, libc, names, walls

_FIRST_UID, _UIDS = 1_500_000_000, 500_000_000
"""Users of the host that nobody has: each sandbox's processes belong to another one."""

_TEMPORARY = Path("/tmp")
_PATIENCE_SECONDS = 10.0
"""How long a step of walling off may take."""


@dataclass(slots=True)
class _Cell:
    """A sandbox as the zygote sees it: the warden's process, its group, a descriptor that tells of its end, and the
    folder of its files where they are the host's."""

    number: int
    pid: int
    group: cgroups.Group
    ended: int
    folder: Path | None


class Zygote:
    """Serves one client until it is gone.

    Args:
        divided: whether its sandboxes get namespaces of their own.
    """

    def __init__(self, link: socket.socket, *, divided: bool) -> None:
        self._link = link
        self._divided = divided
        self._reader = wire.Reader(link)
        self._selector = selectors.DefaultSelector()
        self._cells: dict[int, _Cell] = {}
        self._readable = files.readable_paths()
        self._groups = cgroups.find()
        self._users = os.geteuid() == 0 and (divided or _others_may_read(self._readable))

    def serve(self) -> None:
        libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
        self._selector.register(self._link, selectors.EVENT_READ)
        ready = {"ready": os.getpid(), "landlock": landlock.version(), "groups": self._groups.version}
        wire.send(self._link, ready | {"users": self._users})
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
        folder = None if self._divided else _TEMPORARY / names.fresh()
        try:
            group = self._groups.make(memory_bytes=message["memory"], pids=message["pids"] + 1)
            plan = self._plan(files.Space(message["disk"], message["files"]), folder)
            fork = self._fork_walled if self._divided else self._fork_confining
            pid = fork(plan, group, descriptor)
        except (OSError, ValueError) as error:
            if group is not None:
                cgroups.remove(group)
            _remove(folder)
            self._tell({"failed": number, "error": str(error)})
            return
        finally:
            os.close(descriptor)
        cell = _Cell(number, pid, group, os.pidfd_open(pid), folder)
        self._cells[number] = cell
        self._selector.register(cell.ended, selectors.EVENT_READ, cell)
        self._tell({"created": number, "pid": pid})

    def _plan(self, space: files.Space, folder: Path | None) -> walls.Plan:
        """For a sandbox of namespaces, or for one whose files are in this folder, which is made."""
        uid = _FIRST_UID + secrets.randbelow(_UIDS) if self._users else None
        if folder is None:
            return walls.Plan(files.MOUNTED, space, self._readable, uid)
        place = files.place_below(str(folder))
        for path in (str(folder), *(root for _, root in place.roots)):
            os.makedirs(path, mode=0o700)
            if uid is not None:
                os.chown(path, uid, uid)
        return walls.Plan(place, space, self._readable, uid)

    def _fork_confining(self, plan: walls.Plan, group: cgroups.Group, link: int) -> int:
        """Forks a warden that stands outside and confines each of its programs."""
        mine, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            mine.close()
            _be_warden(theirs, plan, link)
        theirs.close()
        mine.settimeout(_PATIENCE_SECONDS)
        with mine:
            try:
                cgroups.join(group, pid)
                mine.sendall(b"\n")
                _expect(mine)
            except BaseException:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise
        return pid

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
                walls.name_user(middle, *((os.geteuid(), os.getegid()) if plan.uid is None else (plan.uid, plan.uid)))
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
        """A warden has ended, and so has everything in its sandbox, or it does now."""
        self._selector.unregister(cell.ended)
        os.close(cell.ended)
        del self._cells[cell.number]
        _, status = os.waitpid(cell.pid, 0)
        self._end_orphans()
        counted = _fields(cell.group.count())
        with contextlib.suppress(OSError):
            cgroups.remove(cell.group)
        _remove(cell.folder)
        self._tell({"gone": cell.number, "code": os.waitstatus_to_exitcode(status), **counted})

    def _end_orphans(self) -> None:
        """Ends whoever a warden has left, where no process namespace has ended with it."""
        if self._divided:
            return
        others = frozenset(cell.pid for cell in self._cells.values())
        family.bury(family.Descendants(others).end())

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
        if plan.place.apart:
            walls.wall_off(plan)
            libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)  # now, since becoming another user has undone it
        else:
            libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)  # and no signal at the zygote's death: it has a family to end
        link.sendall(b"ok\n")
        link.close()
        os.dup2(kept, 3)
        os.closerange(4, 2**16)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for place in (0, 1, 2):
            os.dup2(nowhere, place)
        os.close(nowhere)
        warden.Warden(socket.socket(fileno=3), plan).serve()
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


def _others_may_read(paths: Sequence[str]) -> bool:
    """Whether a user that nobody is may read these; an interpreter in somebody's home often may not."""
    pid = os.fork()
    if pid == 0:
        try:
            walls.become_user(_FIRST_UID)
            os._exit(0 if all(os.access(path, os.R_OK) for path in paths) else 1)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def _remove(folder: Path | None) -> None:
    """Removes a sandbox's files, however its programs have left them."""
    if folder is None:
        return

    def open_up(function: Any, path: str, _: Any) -> None:
        with contextlib.suppress(OSError):
            os.chmod(os.path.dirname(path), 0o700, follow_symlinks=False)
            os.chmod(path, 0o700, follow_symlinks=False)
            function(path)

    shutil.rmtree(folder, onerror=open_up)


def _fields(counted: cgroups.Counted) -> dict[str, float]:
    return {name: getattr(counted, name) for name in cgroups.Counted.__slots__}


def main() -> None:
    link = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the socket tells when it is over, and then there is work to do
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _prepare(sys.argv[3:])
        zygote = Zygote(link, divided=sys.argv[2] == "namespaces")
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
    for folder in _TEMPORARY.glob(f"{names.PREFIX}-*"):
        if names.is_stale(folder.name):
            _remove(folder)
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
