"""What a sandbox may use, and what a host can promise to hold it to."""

from __future__ import annotations

import dataclasses
import ipaddress
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from agentenv.errors import ConfigError

MIB = 2**20
_HOST_NAME = re.compile(r"(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)


class Network(StrEnum):
    """What a sandbox can reach: nothing, what `Limits.reachable` lists and nothing else, or what its host can."""

    NONE = "none"
    LISTED = "listed"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class Limits:
    """What everything inside one sandbox may use.

    Attributes:
        wall_seconds: of one execution. cpu_seconds: of one execution, all of its processes together.
        memory_bytes: of all processes and private files together.
        pids: processes and threads at a time.
        output_bytes: of one execution's standard output and error together; whoever writes more is stopped.
        disk_bytes, files: of all private files together: their size, and how many there are, folders included.
        network: nothing is to be reached unless this says so.
        reachable: what is, where the network is `LISTED`: names of hosts (`*.example.com` for all below one),
            addresses, and networks such as `10.0.0.0/8`.

    Example:
        Limits(wall_seconds=2.0, memory_bytes=64 * MIB)

    Raises:
        ConfigError: a limit that is not above zero; a list that is empty, not wanted, or holds what is no host.
    """

    wall_seconds: float = 10.0
    cpu_seconds: float = 10.0
    memory_bytes: int = 512 * MIB
    pids: int = 64
    output_bytes: int = MIB
    disk_bytes: int = 128 * MIB
    files: int = 10_000
    network: Network = Network.NONE
    reachable: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name not in ("network", "reachable") and not (0 < value < math.inf):
                raise ConfigError(f"the sandbox limit {field.name} must be above 0 and finite, got {value!r}")
        if (self.network is Network.LISTED) != bool(self.reachable):
            raise ConfigError(
                f"reachable lists what the network 'listed' may reach: with it, and only with it, it names at least "
                f"one host; got {list(self.reachable)} with the network {self.network.value!r}"
            )
        for target in self.reachable:
            _check_target(target)


def _check_target(target: str) -> None:
    """Refuses what is neither the name of a host nor an address or a network."""
    if _HOST_NAME.fullmatch(target):
        return
    try:
        ipaddress.ip_network(target)
    except ValueError:
        raise ConfigError(
            f"what a sandbox may reach is named like 'pypi.org', '*.pypi.org', '192.0.2.1' or '10.0.0.0/8' - without "
            f"scheme, port or path - and not {target!r}"
        ) from None


class Isolation(StrEnum):
    """How well a sandbox is walled off, from best to worst; the record of every result says which.

    `MACHINE`: a virtual machine with a kernel of its own, as the service that runs it says.
    `CONTAINER`: namespaces, limits and images of a container engine.
    `NAMESPACES`: its own users, processes, files, network and hostname in the kernel's namespaces, with system calls
    filtered.
    `RESTRICTED`: the host's namespaces; files by Landlock, system calls filtered, limits a process.
    `NONE`: a plain process of this user, which can do whatever this user can.
    """

    MACHINE = "virtual machine"
    CONTAINER = "container"
    NAMESPACES = "namespaces"
    RESTRICTED = "restricted"
    NONE = "not isolated"


class Promise(StrEnum):
    """One thing a host may be able to hold a sandbox to."""

    PRIVATE_FILES = "private files"
    PRIVATE_PROCESSES = "private processes"
    NO_NETWORK = "no network"
    UNPRIVILEGED = "unprivileged user"
    SYSTEM_CALLS = "filtered system calls"
    FILE_RULES = "file rules (Landlock)"
    MEMORY = "memory limit"
    PIDS = "process limit"
    CPU = "cpu limit"
    DISK = "disk limit"


def promises_named(names: Iterable[str]) -> frozenset[Promise]:
    """Promises by what they are called.

    >>> promises_named(["disk limit"])
    frozenset({<Promise.DISK: 'disk limit'>})

    Raises:
        ConfigError: there is no such promise.
    """
    try:
        return frozenset(map(Promise, names))
    except ValueError as error:
        known = ", ".join(repr(promise.value) for promise in Promise)
        raise ConfigError(f"{error}; there are {known}") from None


@dataclass(frozen=True, slots=True)
class Promises:
    """What a backend can promise on this host.

    Attributes:
        isolation: the best level there is. kept: each promise it can keep, with the means.
        broken: each it cannot, with what is missing.
    """

    isolation: Isolation
    kept: dict[Promise, str]
    broken: dict[Promise, str]
