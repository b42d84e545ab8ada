"""Attempts to get out of a sandbox, to look out of it, or to take its host down; every backend must withstand them all.

Each is a Python program. It says `ESCAPED` and what it got, where it succeeds; what else it says, or the limit that
ends it, is what it was contained by. Afterwards the sandbox must still answer, and so must its neighbour.
"""

from __future__ import annotations

import dataclasses
import socket
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentenv.sandbox.contract import Sandbox, SandboxBackend
from agentenv.sandbox.errors import SandboxFailed
from agentenv.sandbox.limits import MIB, Limits, Promise
from agentenv.sandbox.result import Cause, ExecResult

SECRET = "agentenv-attack-secret"
LIMITS = Limits(wall_seconds=3.0, cpu_seconds=6.0, memory_bytes=128 * MIB, pids=32, disk_bytes=8 * MIB, files=500)

_TOOLS = """
import ctypes, os, signal, socket, tempfile, time
tmp = tempfile.gettempdir()
libc = ctypes.CDLL(None, use_errno=True)
refusals = []
def escaped(what):
    print("ESCAPED", what, flush=True)
def refused(what):
    refusals.append(str(what))
def attempt(name, act, *arguments):
    try:
        got = act(*arguments)
    except OSError as error:
        refused(f"{name}: {error.strerror or type(error).__name__}")
    except Exception as error:
        refused(f"{name}: {type(error).__name__}")
    else:
        escaped(f"{name}: {got!r:.80}")
def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)
    return name
"""
_FAREWELL = """
print("; ".join(dict.fromkeys(refusals)))
"""


@dataclass(frozen=True, slots=True)
class Attack:
    """One program. `{secret}` in it is a file of the host's, `{port}` a service on its loopback.

    Attributes:
        causes: how it may end; `OK` means that it has reported what refused it.
        needs: what a backend must promise to withstand it.
    """

    name: str
    code: str
    causes: frozenset[Cause] = frozenset({Cause.OK})
    needs: Promise | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attack: whether it was contained, and by what, or how it got out.

    Attributes:
        promised: whether the backend has promised to withstand it.
    """

    attack: Attack
    contained: bool
    by: str
    promised: bool = True


def _bomb(name: str, code: str, *causes: Cause, needs: Promise | None = None) -> Attack:
    return Attack(name, code, frozenset(causes), needs)


ATTACKS: Sequence[Attack] = (
    _bomb(
        "fork bomb",
        "while True:\n    os.fork()",
        Cause.PIDS,
        Cause.WALL,
        Cause.PROGRAM_ERROR,
        Cause.OUTPUT,
        Cause.OOM,
        needs=Promise.PIDS,
    ),
    _bomb("memory bomb", "kept = []\nwhile True:\n    kept.append(bytearray(2**20))", Cause.OOM, needs=Promise.MEMORY),
    _bomb(
        "disk fill",
        "with open(f'{{tmp}}/fill', 'wb', buffering=0) as file:\n    while True:\n        file.write(bytes(2**20))",
        Cause.DISK,
        needs=Promise.DISK,
    ),
    _bomb(
        "shared memory fill",
        "attempt('fill', open('/dev/shm/fill', 'wb').write, bytes(2**24))",
        Cause.DISK,
        Cause.OOM,
        Cause.OK,
        Cause.PROGRAM_ERROR,
    ),
    _bomb(
        "inode flood", "for n in range(10**6):\n    open(f'{{tmp}}/{{n}}', 'w').close()", Cause.DISK, needs=Promise.DISK
    ),
    _bomb("output flood", "while True:\n    os.write(1, bytes(2**20))", Cause.OUTPUT),
    _bomb("descriptor exhaustion", "while True:\n    os.dup(0)", Cause.PROGRAM_ERROR),
    _bomb(
        "zombie flood",
        "while True:\n    if os.fork() == 0:\n        os._exit(0)",
        Cause.PIDS,
        Cause.PROGRAM_ERROR,
        needs=Promise.PIDS,
    ),
    _bomb(
        "thread flood",
        "import threading\nwhile True:\n    threading.Thread(target=time.sleep, args=(60,)).start()",
        Cause.PIDS,
        Cause.WALL,
        Cause.PROGRAM_ERROR,
        needs=Promise.PIDS,
    ),
    _bomb(
        "ignoring every signal",
        "for number in range(1, 65):\n    try:\n        signal.signal(number, signal.SIG_IGN)\n"
        "    except (OSError, ValueError):\n        pass\nwhile True:\n    time.sleep(1)",
        Cause.WALL,
    ),
    _bomb("stopping itself", "os.kill(os.getpid(), signal.SIGSTOP)", Cause.WALL),
    _bomb(
        "a daemon that stays",
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(1000)\n    os._exit(0)\n"
        "time.sleep(1000)",
        Cause.WALL,
    ),
    Attack("huge argument list", "attempt('exec', os.execv, '/bin/true', ['x' * 2**17] * 100)"),
    Attack(
        "killing everybody",
        "try:\n    os.kill(1, signal.SIGKILL)\n    time.sleep(0.2)\n    refused('kill 1: it does not heed it')\n"
        "except OSError as error:\n    refused(f'kill 1: {{error.strerror}}')\n"
        "try:\n    seen = os.listdir('/proc')\nexcept OSError:\n    seen = []\n"
        "others = [name for name in seen if name.isdigit() and int(name) not in (1, os.getpid())]\n"
        "escaped(f'processes in sight: {{others}}') if others else refused('nobody else is in sight')\n"
        # Linux calls it a success where every single process was refused: whoever answers afterwards is the judge.
        "try:\n    os.kill(-1, signal.SIGKILL)\n    refused('kill all: it reached nobody')\n"
        "except OSError as error:\n    refused(f'kill all: {{error.strerror}}')",
    ),
    Attack(
        "tracing and reading other processes",
        "attempt('ptrace', call, 'ptrace', 16, 1, 0, 0)\n"
        "attempt('memory', open, '/proc/1/mem', 'rb')\n"
        "attempt('environment', lambda: open('/proc/1/environ').read())\n"
        "attempt('descriptors', os.listdir, '/proc/1/fd')\n"
        "attempt('process_vm_readv', call, 'process_vm_readv', 1, 0, 0, 0, 0, 0)",
    ),
    Attack(
        "reading the host's files",
        "for path in ('{secret}', '/etc/shadow', '/root/.ssh', '/proc/1/root/{secret}', '/proc/1/cwd/../{secret}'):\n"
        "    attempt(path.rpartition('/')[2], lambda: open(path).read())",
    ),
    Attack(
        "links to the host's files",
        "for path in ('{secret}', '/../../{secret}', '/proc/self/root/{secret}'):\n"
        "    name = f'{{tmp}}/{{len(os.listdir(tmp))}}'\n"
        "    os.symlink(path, name)\n"
        "    attempt('symlink', lambda: open(name).read())\n"
        "    attempt('hard link', os.link, path, name + 'h')",
    ),
    Attack(
        "writing outside",
        "for path in ('/usr/bin/x', '/etc/passwd', '/x', '/proc/sysrq-trigger', '/proc/sys/kernel/core_pattern'):\n"
        "    attempt(path, lambda: open(path, 'a').write('x'))\n"
        "attempt('/sys', lambda: os.listdir('/sys/kernel')[0])",
    ),
    Attack(
        "mounts and namespaces",
        "attempt('mount', call, 'mount', b'none', tmp.encode(), b'tmpfs', 0, None)\n"
        "attempt('umount', call, 'umount2', b'/proc', 2)\n"
        "attempt('unshare', call, 'unshare', 0x10000000)\n"
        "attempt('setns', lambda: call('setns', os.open('/proc/1/ns/net', 0), 0))\n"
        "attempt('chroot', os.chroot, tmp)\n"
        "attempt('device', os.mknod, f'{{tmp}}/disk', 0o60600, os.makedev(8, 0))",
    ),
    Attack(
        "becoming somebody else",
        "attempt('another user', os.setuid, 0 if os.getuid() else 12345)\n"
        "attempt('groups', os.setgroups, [0])\n"
        "os.chmod(tmp, 0o777)\n"
        "attempt('owner', os.chown, tmp, 12345, 12345)",
    ),
    Attack(
        "reaching the network",
        "attempt('loopback service', socket.create_connection, ('127.0.0.1', {port}), 2)\n"
        "attempt('another machine', socket.create_connection, ('10.255.255.1', 80), 2)\n"
        "attempt('DNS', socket.getaddrinfo, 'example.org', 80)",
    ),
    Attack(
        "strange sockets",
        "attempt('raw', socket.socket, socket.AF_INET, socket.SOCK_RAW, 1)\n"
        "attempt('packet', socket.socket, 17, socket.SOCK_RAW, 3)\n"
        "attempt('vsock', socket.socket, 40, socket.SOCK_STREAM)\n"
        "attempt('crypto', socket.socket, 38, 5)\n"
        "attempt('netlink', socket.socket, 16, socket.SOCK_RAW, 0)\n"
        "attempt('abstract', lambda: socket.socket(socket.AF_UNIX).connect(chr(0) + '{secret}'))",
    ),
    Attack(
        "the kernel's side doors",
        "attempt('keyring', call, 'syscall', 248, b'user', b'k', b'v', 1, -2)\n"
        "attempt('bpf', call, 'syscall', 321, 0, 0, 0)\n"
        "attempt('io_uring', call, 'syscall', 425, 1, 0)\n"
        "attempt('userfaultfd', call, 'syscall', 323, 0)\n"
        "attempt('perf', call, 'syscall', 298, 0, 0, 0, 0, 0)\n"
        "attempt('clock', time.clock_settime, time.CLOCK_REALTIME, 0)\n"
        "attempt('host name', socket.sethostname, 'x')\n"
        "attempt('reboot', call, 'reboot', 0x1234567)",
    ),
)


async def attack(backend: SandboxBackend, attacks: Sequence[Attack] = ATTACKS) -> AsyncIterator[Outcome]:
    """Tries each attack in a sandbox of its own, beside a neighbour, and says what came of it."""
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        secret = Path(folder) / "secret"
        secret.write_text(SECRET)
        abstract.bind(f"\0{secret}")
        abstract.listen()
        places = {"secret": str(secret), "port": str(server.getsockname()[1])}
        async with backend.sandbox(LIMITS) as neighbour:
            for one in attacks:
                async with backend.sandbox(LIMITS) as sandbox:
                    outcome = await _try(one, sandbox, neighbour, places)
                if outcome.contained or one.needs is None:
                    yield outcome
                else:
                    promises = await backend.probe()
                    yield dataclasses.replace(outcome, promised=one.needs not in promises.broken)


async def _try(one: Attack, sandbox: Sandbox, neighbour: Sandbox, places: dict[str, str]) -> Outcome:
    code = one.code.format(**places)
    try:
        result = await sandbox.run_python(f"{_TOOLS}{code}\n{_FAREWELL}")
    except SandboxFailed as failure:
        return Outcome(one, False, f"the sandbox itself failed: {failure}")
    text = result.stdout.text
    if "ESCAPED" in text or SECRET in text:
        return Outcome(one, False, next(line for line in text.splitlines() if "ESCAPED" in line or SECRET in line))
    if result.cause not in one.causes:
        last = (result.stderr.text or text).strip().rpartition("\n")[2]
        return Outcome(one, False, f"it ended as {result.cause.value}" + (f": {last:.300}" if last else ""))
    await sandbox.kill()
    for name, who in (("the sandbox", sandbox), ("its neighbour", neighbour)):
        if not await _answers(who):
            return Outcome(one, False, f"{name} answers no more")
    return Outcome(one, True, _by(result))


async def _answers(sandbox: Sandbox) -> bool:
    try:
        return (await sandbox.run_python("print('alive')")).stdout.text == "alive\n"
    except SandboxFailed:
        return False


def _by(result: ExecResult) -> str:
    """What contained it: the limit that ended it, or what it was refused with."""
    if result.cause is Cause.OK:
        return result.stdout.text.strip()
    if result.cause is Cause.PROGRAM_ERROR:
        return result.stderr.text.strip().rpartition("\n")[2]
    return f"{result.cause.value} limit"
