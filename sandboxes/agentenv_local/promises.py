"""Which promises a host lets the local backend keep, and by what."""

from __future__ import annotations

from dataclasses import dataclass

from agentenv.sandbox import Isolation, Promise, Promises
from agentenv_local.jail import syscalls

_LIMITED_TOGETHER = (Promise.MEMORY, Promise.PIDS, Promise.CPU)
_NAMESPACES = {
    Promise.PRIVATE_FILES: "a mount namespace, the host's programs read-only",
    Promise.PRIVATE_PROCESSES: "a process namespace, ended as one",
    Promise.NO_NETWORK: "a network namespace with nothing but its own loopback",
    Promise.UNPRIVILEGED: "a user namespace, no capabilities, no new privileges",
    Promise.DISK: "files in memory, limited in size and number",
}


@dataclass(frozen=True, slots=True)
class Host:
    """What the zygote found.

    Attributes:
        landlock: version of the kernel's Landlock, 0 for none. groups: version of the control groups this process can
            make, 0 for none. users: whether each sandbox can be a user of its own: the zygote is root, and others may
            read the interpreter.
    """

    landlock: int
    groups: int
    users: bool


def promises(isolation: Isolation, host: Host) -> Promises:
    """What sandboxes of this isolation are held to on a host that can make them."""
    kept: dict[Promise, str] = {}
    broken: dict[Promise, str] = {}
    if syscalls.known_here():
        kept[Promise.SYSTEM_CALLS] = "a seccomp filter"
    else:
        broken[Promise.SYSTEM_CALLS] = "no numbers of system calls are known for this machine"
    if host.landlock:
        kept[Promise.FILE_RULES] = f"Landlock, version {host.landlock}"
    else:
        broken[Promise.FILE_RULES] = "the kernel has no Landlock"
    if host.groups:
        kept |= dict.fromkeys(_LIMITED_TOGETHER, f"control groups, version {host.groups}")
    else:
        alone = "no control groups can be made: each process is limited, not all together"
        broken |= dict.fromkeys(_LIMITED_TOGETHER, alone)
        if isolation is Isolation.NAMESPACES or host.users:
            del broken[Promise.PIDS]
            kept[Promise.PIDS] = "a limit on the processes of a user of its own"
    if isolation is Isolation.NAMESPACES:
        return Promises(isolation, kept | _NAMESPACES, broken)
    return _restricted(host, kept, broken)


def _restricted(host: Host, kept: dict[Promise, str], broken: dict[Promise, str]) -> Promises:
    """Without namespaces: what Landlock, the filter and a user of its own can do."""
    if host.landlock:
        kept[Promise.PRIVATE_FILES] = "Landlock: the host's programs read-only, a folder of its own"
    else:
        broken[Promise.PRIVATE_FILES] = "the kernel has no Landlock"
    if Promise.SYSTEM_CALLS in kept:
        kept[Promise.NO_NETWORK] = "a filter that refuses sockets"
    else:
        broken[Promise.NO_NETWORK] = broken[Promise.SYSTEM_CALLS]
    if host.users:
        kept[Promise.UNPRIVILEGED] = "a user nobody else is, no capabilities, no new privileges"
        kept[Promise.PRIVATE_PROCESSES] = "a user nobody else is; processes are listed nowhere"
    elif host.landlock >= 6:
        kept[Promise.UNPRIVILEGED] = "no capabilities, no new privileges"
        kept[Promise.PRIVATE_PROCESSES] = f"Landlock, version {host.landlock}: no signals to others"
    else:
        kept[Promise.UNPRIVILEGED] = "no capabilities, no new privileges"
        broken[Promise.PRIVATE_PROCESSES] = "programs can signal the other processes of the user they share"
    broken[Promise.DISK] = "files are the host's: each is limited, not all together"
    return Promises(Isolation.RESTRICTED, kept, broken)
