"""How one execution ended, as the warden saw it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ended:
    """How the warden saw it end.

    Attributes:
        code: as in `ExecResult.exit_code`; `None` where there is none.
        full: whether the private files had no room left. refusal: why it could not be started; empty if it was.
    """

    code: int | None
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    full: bool = False
    refusal: str = ""
