"""The first process of a container: starts what it is told to, hands on what that writes, and ends it.

It is given to the image's own `python3` (3.9 or newer) as text, so it imports the standard library only. It speaks over
its standard input and output, which the engine connects to whoever made the container: when that process is gone,
however it went, the input ends, and with this process everything in the container.

A message is two lengths, a JSON header and as many bytes of payload. Programs run as another user, who can neither
signal this process nor look into it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import platform
import resource
import selectors
import shutil
import signal
import stat
import struct
import sys
import tarfile
from collections.abc import Callable
from typing import Any, NoReturn

LENGTHS = struct.Struct(">II")
CHUNK = 2**16
SET_DUMPABLE, NO_NEW_PRIVILEGES, SECCOMP = 4, 38, 22
SOCKET = {"x86_64": (41, 0xC000003E), "aarch64": (198, 0xC00000B7)}
FAMILIES = (1, 2, 10)
WORK = "/sandbox"
WRITABLE = ("/sandbox", "/tmp", "/dev/shm")
NOT_FOUND, CANNOT_RUN = 127, 126
GROUPS = "/sys/fs/cgroup"
"""Where a container sees its own control groups, read-only."""


class Agent:
    """Serves one container until the other side is gone."""

    def __init__(self, user: int, programs: dict[str, str]) -> None:
        self.user = user
        self.programs = programs
        self.selector = selectors.DefaultSelector()
        self.input = bytearray()
        self.message: dict[str, Any] | None = None
        self.body, self.missing = -1, 0
        self.runs: dict[int, Run] = {}
        self.ended = False

    def serve(self) -> None:
        ctypes.CDLL(None).prctl(SET_DUMPABLE, 0, 0, 0, 0)
        woken, wake = os.pipe()
        for end in (woken, wake, 0):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.selector.register(0, selectors.EVENT_READ, self.listen)
        self.selector.register(woken, selectors.EVENT_READ, lambda: os.read(woken, CHUNK))
        tell({"ready": list(sys.version_info[:2])})
        while not self.ended:
            for key, _ in self.selector.select():
                if key.fd in self.selector.get_map():  # what an earlier one has not closed meanwhile
                    key.data()
            self.reap()

    def listen(self) -> None:
        data = os.read(0, 2**20)
        if not data:
            self.ended = True
            return
        self.input += data
        while self.take():
            pass

    def take(self) -> bool:
        """Obeys a message, if all of it is there. Its payload lies in a file, not in this process's memory."""
        if self.message is None:
            if len(self.input) < LENGTHS.size:
                return False
            head, self.missing = LENGTHS.unpack_from(self.input)
            end = LENGTHS.size + head
            if len(self.input) < end:
                return False
            self.message, self.body = json.loads(self.input[LENGTHS.size : end]), os.memfd_create("payload")
            del self.input[:end]
        piece = self.input[: self.missing]
        write_all(self.body, piece)
        del self.input[: len(piece)]
        self.missing -= len(piece)
        if self.missing:
            return False
        message, self.message = self.message, None
        os.lseek(self.body, 0, os.SEEK_SET)
        try:
            getattr(self, "on_" + message["op"])(message, self.body)
        finally:
            os.close(self.body)
        return True

    def on_run(self, message: dict[str, Any], body: int) -> None:
        run = Run(message["id"], self)
        try:
            run.start(message, body)
        except OSError as error:
            run.close()
            tell({"refused": run.number, "error": error.strerror})
        else:
            self.runs[run.pid] = run

    def on_feed(self, message: dict[str, Any], body: int) -> None:
        """To the input of a session."""
        for run in self.runs.values():
            if run.number == message["id"] and run.feeding is not None:
                with open(body, "rb", closefd=False) as file:
                    piece = file.read()
                run.pending += LENGTHS.pack(len(piece), 0) + piece
                run.feed()

    def on_signal(self, message: dict[str, Any], body: int) -> None:
        for pid, run in list(self.runs.items()):
            if run.number == message["id"]:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, message["signal"])
                if message["signal"] == signal.SIGKILL:
                    self.end_strays(pid)

    def on_kill(self, message: dict[str, Any], body: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        self.reap(0)
        tell({"quiet": True})

    def on_count(self, message: dict[str, Any], body: int) -> None:
        tell({"counted": message["id"], **counts()})

    def end_strays(self, leader: int) -> None:
        """Ends what has left the group of a run: its session's members, and whoever was left to this process."""
        for _ in range(100):
            found = [pid for pid in strays(leader) if pid not in self.runs]
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.reap()
            if not found:
                return

    def reap(self, options: int = os.WNOHANG) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, options)
            except ChildProcessError:
                return
            if pid == 0:
                return
            run = self.runs.pop(pid, None)
            if run is not None:
                run.drain()
                run.close()
                code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
                used = {"cpu": usage.ru_utime + usage.ru_stime, "peak": usage.ru_maxrss * 1024}
                tell({"ended": run.number, "code": code, "full": is_full(), **used})


class Run:
    """One program: its process, and what it writes."""

    def __init__(self, number: int, agent: Agent) -> None:
        self.number, self.agent = number, agent
        self.pid, self.pending = 0, bytearray()
        self.feeding: int | None = None
        self.reading: dict[int, str] = {}

    def start(self, message: dict[str, Any], body: int) -> None:
        session = message["kind"] == "session"
        given = os.pipe() if session else (os.dup(body), None)
        written = []
        for name in ("stdout", "stderr", *(["reply"] if session else [])):
            reading, writing = os.pipe()
            os.set_blocking(reading, False)
            self.reading[reading] = name
            written.append(writing)
        try:
            self.pid = os.fork()
            if self.pid == 0:
                self.become(message, (given[0], *written))
        finally:
            for descriptor in (given[0], *written):
                os.close(descriptor)
            self.feeding = given[1]
        if self.feeding is not None:
            os.set_blocking(self.feeding, False)
        for reading in self.reading:
            self.agent.selector.register(reading, selectors.EVENT_READ, lambda reading=reading: self.read(reading))

    def become(self, message: dict[str, Any], descriptors: tuple[int, ...]) -> NoReturn:
        """In the child: another user, with limits, and nothing of this process's."""
        code = CANNOT_RUN
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            with open("/proc/self/oom_score_adj", "w") as file:
                file.write("1000")  # when memory runs out it is this one that has to go
            limit(**message["limits"])
            safe = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 10) for descriptor in descriptors]
            for place, descriptor in enumerate(safe):
                os.dup2(descriptor, place)
            os.closerange(len(safe), 256)
            os.setgroups([])
            os.setresgid(self.agent.user, self.agent.user, self.agent.user)
            os.setresuid(self.agent.user, self.agent.user, self.agent.user)
            ctypes.CDLL(None).prctl(SET_DUMPABLE, 1, 0, 0, 0)
            refuse_sockets()
            code = self.play(message)
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(code)

    def play(self, message: dict[str, Any]) -> int:
        os.chdir(WORK)
        if message["kind"] == "files":
            return do(message["what"], message["arguments"])
        if message["kind"] == "command":
            argv, cwd = message["argv"], message["cwd"] or WORK
        else:
            argv, cwd = [sys.executable, "-I", "-c", self.agent.programs[message["kind"]]], WORK
        for number in (signal.SIGPIPE, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        try:
            os.chdir(cwd)
            os.execvpe(argv[0], argv, {**os.environ, **message.get("env", {})})
        except (OSError, ValueError) as error:
            reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
            os.write(2, f"{argv[0] if os.path.isdir(cwd) else cwd}: {reason}\n".encode())
            return NOT_FOUND if isinstance(error, FileNotFoundError) else CANNOT_RUN

    def feed(self) -> None:
        """Gives a session as much as it takes: one that does not listen must not keep everybody waiting."""
        if self.feeding is None:
            return
        with contextlib.suppress(KeyError):
            self.agent.selector.unregister(self.feeding)
        try:
            while self.pending:
                del self.pending[: os.write(self.feeding, self.pending)]
        except BlockingIOError:
            self.agent.selector.register(self.feeding, selectors.EVENT_WRITE, self.feed)
        except OSError:  # it has closed its end, or is gone
            self.pending.clear()

    def read(self, reading: int) -> bool:
        """Hands on what there is; whether there may be more."""
        name = self.reading[reading]
        if name == "reply":
            self.drain()
        try:
            data = os.read(reading, CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self.forget(reading)
            return False
        tell({"out": self.number, "stream": name}, data)
        return True

    def drain(self) -> None:
        """Hands on what was written until now; what was left running may go on writing for ever."""
        for reading, name in list(self.reading.items()):
            for _ in range(64):
                if name == "reply" or reading not in self.reading or not self.read(reading):
                    break

    def forget(self, reading: int) -> None:
        del self.reading[reading]
        with contextlib.suppress(KeyError):
            self.agent.selector.unregister(reading)
        os.close(reading)

    def close(self) -> None:
        for reading in list(self.reading):
            self.forget(reading)
        if self.feeding is not None:
            with contextlib.suppress(KeyError):
                self.agent.selector.unregister(self.feeding)
            os.close(self.feeding)


def tell(header: dict[str, Any], payload: bytes = b"") -> None:
    """To the other side, however long it takes to listen."""
    head = json.dumps(header).encode()
    write_all(1, LENGTHS.pack(len(head), len(payload)) + head + payload)


def limit(cpu: int | None, disk: int, descriptors: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if cpu is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (disk, disk))
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def refuse_sockets() -> None:
    """Sockets but those of this machine and of the internet: what engines before 2022 let through has no namespace."""
    number, architecture = SOCKET.get(platform.machine(), (None, None))
    if number is None:
        raise OSError(f"no system call numbers are known for {platform.machine()}")
    families = [(0x15, len(FAMILIES) - place, 0, family) for place, family in enumerate(FAMILIES)]
    steps = [
        (0x20, 0, 0, 4),  # the architecture
        (0x15, 1, 0, architecture),
        (0x06, 0, 0, 0x80000000),  # another one ends the program
        (0x20, 0, 0, 0),  # the number of the call
        (0x15, 0, len(families) + 2, number),
        (0x20, 0, 0, 16),  # its first argument
        *families,
        (0x06, 0, 0, 0x00050000 | errno.EAFNOSUPPORT),
        (0x06, 0, 0, 0x7FFF0000),
    ]
    code = b"".join(struct.pack("HBBI", *step) for step in steps)
    block = ctypes.create_string_buffer(code, len(code))
    described = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(block)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(SECCOMP, 2, ctypes.byref(described), 0, 0):
        raise OSError(ctypes.get_errno(), "the filter of system calls was refused")


def strays(leader: int) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and name != "1":
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
                if fields[0] != b"Z" and (int(fields[3]) == leader or fields[1] == b"1"):
                    found.append(int(name))
    return found


def counts() -> dict[str, float]:
    """What the container has used, by control groups of either version."""
    if os.path.exists(f"{GROUPS}/cgroup.controllers"):
        return {
            "memory": number("memory.current"),
            "oom": field("memory.events", "oom_kill"),
            "pids": number("pids.current"),
            "refused": field("pids.events", "max"),
            "cpu": field("cpu.stat", "usage_usec") / 1e6,
        }
    return {
        "memory": number("memory/memory.usage_in_bytes"),
        "oom": field("memory/memory.oom_control", "oom_kill"),
        "pids": number("pids/pids.current"),
        "refused": field("pids/pids.events", "max"),
        "cpu": number("cpuacct/cpuacct.usage") / 1e9,
    }


def number(name: str) -> int:
    with contextlib.suppress(OSError, ValueError), open(f"{GROUPS}/{name}") as file:
        return int(file.read())
    return 0


def field(name: str, key: str) -> int:
    with contextlib.suppress(OSError), open(f"{GROUPS}/{name}") as file:
        for line in file:
            if line.split()[0] == key:
                return int(line.split()[1])
    return 0


def is_full() -> bool:
    """Whether one of the file systems in memory has no room left."""
    spaces = [os.statvfs(path) for path in WRITABLE]
    return any(space.f_bavail == 0 or (space.f_files and space.f_favail == 0) for space in spaces)


def do(what: str, arguments: dict[str, Any]) -> int:
    """A look at, or a change to, the files; 0 where it went well, else 1 and a sentence on standard error."""
    try:
        FILES[what](**arguments)
    except (OSError, tarfile.TarError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        os.write(2, f"{arguments.get('path', what)}: {reason}".encode())
        return 1
    return 0


def read_file(path: str, limit: int | None) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(0, "it is no file")
    left = sys.maxsize if limit is None else limit
    while left and (data := os.read(descriptor, min(left, CHUNK))):
        left -= len(data)
        write_all(1, data)


def write_file(path: str, executable: bool) -> None:
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_NOCTTY, 0o644)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(0, "it is no file")
    while data := os.read(0, CHUNK):
        write_all(descriptor, data)
    os.fchmod(descriptor, 0o755 if executable else 0o644)


def list_folder(path: str) -> None:
    found = []
    with os.scandir(path) as entries:
        for entry in entries:
            details = entry.stat(follow_symlinks=False)
            kind = "folder" if stat.S_ISDIR(details.st_mode) else "file" if stat.S_ISREG(details.st_mode) else "other"
            name = os.fsencode(entry.name).decode("utf-8", "replace")
            found.append((name, kind, details.st_size if kind == "file" else 0))
    write_all(1, json.dumps(sorted(found)).encode())


def usage() -> None:
    spaces = [os.statvfs(path) for path in WRITABLE]
    used = sum((space.f_blocks - space.f_bfree) * space.f_frsize for space in spaces)
    write_all(1, json.dumps([used, sum(space.f_files - space.f_ffree for space in spaces)]).encode())


def pack() -> None:
    with open(1, "wb", closefd=False) as output, tarfile.open(fileobj=output, mode="w|") as archive:
        for root in WRITABLE:
            archive.add(root, filter=lambda member: member if is_kept(member) else None)


def unpack() -> None:
    for root in WRITABLE:
        for name in os.listdir(root):
            path = os.path.join(root, name)
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
    with open(0, "rb", closefd=False) as source, tarfile.open(fileobj=source, mode="r|") as archive:
        for member in archive:
            if not any(f"/{member.name}" == root for root in WRITABLE):  # they are there, and the engine's
                archive.extract(member, "/", set_attrs=True)


def is_kept(member: tarfile.TarInfo) -> bool:
    return member.isreg() or member.isdir() or member.issym() or member.islnk()


def write_all(descriptor: int, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


FILES: dict[str, Callable[..., None]] = {
    "read": read_file,
    "write": write_file,
    "list": list_folder,
    "usage": usage,
    "pack": pack,
    "unpack": unpack,
}

if __name__ == "__main__":
    Agent(int(sys.argv[1]), json.loads(sys.argv[2])).serve()
