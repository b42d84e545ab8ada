"""The first process of a sandbox: starts what it is told to, waits for it, and ends it.

It is number 1 in its own process namespace, so no signal from inside ends it and everything inside ends with it. Where
there are no namespaces it stands outside of its sandbox, as a user or behind rules that its programs cannot signal. It
runs nothing itself: each program, and each look at a file, is a child.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
from typing import NoReturn

from agentenv_local import wire
from agentenv_local.inside import family, programs
from agentenv_local.jail import walls


class Warden:
    """Serves one sandbox over its socket until the other side is gone.

    Args:
        plan: how the sandbox is walled off; where this process is not inside of the walls itself, each program is put
            behind them before it begins.
    """

    def __init__(self, link: socket.socket, plan: walls.Plan) -> None:
        self._link = link
        self._plan = plan
        self._family: family.Family = family.Namespace() if plan.place.apart else family.Descendants()
        self._reader = wire.Reader(link)
        self._runs: dict[int, int] = {}
        """Number of the run by process."""

    def serve(self) -> None:
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(woken, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        with selectors.DefaultSelector() as selector:
            selector.register(self._link, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while not self._reader.ended:
                for key, _ in selector.select():
                    if key.fileobj is self._link:
                        self._obey()
                    else:
                        with contextlib.suppress(BlockingIOError):
                            os.read(woken, 4096)
                self._reap()
        self._end_all()

    def _obey(self) -> None:
        for message, descriptors in self._reader.receive():
            match message["op"]:
                case "run":
                    self._run(message, descriptors)
                case "signal":
                    self._signal(message)

    def _run(self, message: wire.Message, descriptors: tuple[int, ...]) -> None:
        number = message["id"]
        try:
            pid = os.fork()
        except OSError as error:
            wire.send(self._link, {"refused": number, "error": error.strerror, "errno": error.errno})
        else:
            if pid == 0:
                self._become(message, descriptors)
            self._runs[pid] = number
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _become(self, message: wire.Message, descriptors: tuple[int, ...]) -> NoReturn:
        """In a child: lets go of what is the warden's, and plays a program.

        Whoever cannot begin says so on the warden's socket, which no program has: it is no program's failure.
        """
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            if not self._plan.place.apart:
                walls.confine(self._plan)
            programs.prepare(message["limits"], descriptors)
        except BaseException as error:
            with contextlib.suppress(OSError):
                wire.send(self._link, {"broken": message["id"], "error": str(error)})
            os._exit(1)
        try:
            programs.play(message, self._plan.place)
        finally:
            os._exit(127)

    def _signal(self, message: wire.Message) -> None:
        """To the group of a process or of a run, or to everything there is."""
        if (pid := message.get("pid")) is not None:
            with contextlib.suppress(OSError):
                os.killpg(pid, message["signal"])
            return
        number = message.get("id")
        if number is None:
            self._end_all()
            wire.send(self._link, {"quiet": True})
            return
        for pid, run in list(self._runs.items()):
            if run == number:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, message["signal"])
                if message["signal"] == signal.SIGKILL:
                    self._end_strays(pid)

    def _end_all(self) -> None:
        """Ends every process but this one, and waits until they have."""
        self._family.end()
        self._reap(options=0)

    def _end_strays(self, leader: int) -> None:
        """Ends what has left the group of a run: its session's members and whoever was left to this process.

        Whoever is caught between two looks is seen by the next; whoever keeps forking meets the limit on processes.
        """
        for _ in range(100):
            found = [pid for pid in family.strays(leader) if pid not in self._runs]
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._reap()
            if not found:
                return

    def _reap(self, options: int = os.WNOHANG) -> None:
        """Buries the dead and tells of those that were runs; with other options waits until nobody is left."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, options)
            except ChildProcessError:
                return
            if pid == 0:
                return
            number = self._runs.pop(pid, None)
            if number is not None:
                ended = {
                    "ended": number,
                    "code": os.waitstatus_to_exitcode(status),
                    "cpu": usage.ru_utime + usage.ru_stime,
                    "peak": usage.ru_maxrss * 1024,
                    "full": self._is_full(),
                }
                with contextlib.suppress(OSError):
                    wire.send(self._link, ended)

    def _is_full(self) -> bool:
        """Whether there is no room left for private files."""
        space = os.statvfs(self._plan.place.work)
        return space.f_bavail == 0 or space.f_favail == 0
