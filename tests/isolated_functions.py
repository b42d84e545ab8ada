"""What `tests/test_processes.py` runs in worker processes: well-behaved, hanging and crashing functions."""

from __future__ import annotations

import os
import time
from pathlib import Path


def add(left: int, right: int) -> int:
    return left + right


def process_id() -> int:
    return os.getpid()


def refuse(message: str) -> None:
    raise ValueError(message)


def time_out_by_itself() -> None:
    raise TimeoutError("from within")


def die(code: int) -> None:
    os._exit(code)


def hang(report: str) -> None:
    """Writes its process id to `report`, then never returns; Python code, so a signal handler could run."""
    _report(report)
    while True:
        time.sleep(3600)


def hang_in_c(report: str) -> None:
    """As `hang`, in one C call that holds the interpreter's lock and lets no handler or thread run."""
    _report(report)
    10**10**10


def _report(path: str) -> None:
    temporary = Path(f"{path}.part")
    temporary.write_text(str(os.getpid()))
    temporary.rename(path)


def take_memory(count: int) -> int:
    return len(bytearray(count))


def refuse_two(left: str, right: str) -> bool:
    raise ValueError(f"cannot compare {left} with {right}")
