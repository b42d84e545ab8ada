"""Names of what a zygote makes on the host, which tell whether their maker still lives."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

PREFIX = "agentenv"


def fresh() -> str:
    """A name that nobody else has: of this process, and when it began."""
    return f"{PREFIX}-{os.getpid()}-{started(os.getpid())}-{secrets.token_hex(4)}"


def is_stale(name: str) -> bool:
    """Whether this was named by a process that is gone."""
    maker = re.match(rf"{PREFIX}-(\d+)-(\d+)-", name)
    return maker is not None and started(int(maker[1])) != int(maker[2])


def started(pid: int) -> int:
    """When a process began, in ticks since the machine did, unlike any later one of its number; 0 if there is none."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError):
        return 0
