"""What this host can promise its local sandboxes: found out by making one."""

from __future__ import annotations

from agentenv.errors import ConfigError
from agentenv.sandbox import Isolation, Promise, Promises, SandboxFailed
from agentenv_local.backend import LocalSandboxes
from agentenv_local.jail import cgroups, landlock, syscalls

_WALLS = {
    Promise.PRIVATE_FILES: "a mount namespace, the host's programs read-only",
    Promise.PRIVATE_PROCESSES: "a process namespace, ended as one",
    Promise.NO_NETWORK: "a network namespace with nothing but its own loopback",
    Promise.UNPRIVILEGED: "a user namespace, no capabilities, no new privileges",
    Promise.DISK: "files in memory, limited in size and number",
}
_GROUPED = (Promise.MEMORY, Promise.PIDS, Promise.CPU)


async def probe() -> Promises:
    """Makes a sandbox and runs something in it; says for each promise by what it is kept, or why it is not."""
    kept: dict[Promise, str] = {}
    broken: dict[Promise, str] = {}
    try:
        version = cgroups.find().version
    except OSError as error:
        broken |= dict.fromkeys(_GROUPED, f"no control groups can be made: {error}")
    else:
        kept |= dict.fromkeys(_GROUPED, f"control groups, version {version}")
    if known := landlock.version():
        kept[Promise.FILE_RULES] = f"Landlock, version {known}"
    else:
        broken[Promise.FILE_RULES] = "the kernel has no Landlock"
    problem = "no numbers of system calls are known for this machine" if not syscalls.known_here() else await _try()
    if problem:
        broken |= dict.fromkeys((*_WALLS, Promise.SYSTEM_CALLS), problem)
        return Promises(Isolation.NONE, kept, broken)
    return Promises(Isolation.NAMESPACES, kept | _WALLS | {Promise.SYSTEM_CALLS: "a seccomp filter"}, broken)


async def _try() -> str:
    """What is wrong with a sandbox; nothing, if it runs what it is given."""
    try:
        async with LocalSandboxes(warm=0, without=[Promise.FILE_RULES]) as sandboxes, sandboxes.sandbox() as sandbox:
            result = await sandbox.run_python("print(1)")
    except (SandboxFailed, ConfigError) as error:
        return str(error)
    return "" if result.ok else f"a program could not run: {result.stderr.text or result.message}"
