"""What a page tells of its episode, and how long actions take on its clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from agentenv.errors import ConfigError

_LONGEST = 60.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How long an action takes, in seconds of the page's clock.

    Attributes:
        action: each of them. patience, longest: and for as long as something that it has set going is due within
            `patience`, at most until `longest` after its beginning.
    """

    action: float = 0.1
    patience: float = 0.5
    longest: float = 2.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LONGEST:
                raise ConfigError(f"pace: {field.name} is seconds, 0 to {_LONGEST:g}, not {value!r}")

    @classmethod
    def of(cls, given: Self | Mapping[str, float]) -> Self:
        """As an environment's argument.

        Raises:
            ConfigError: there is no such attribute, or its value makes no sense.
        """
        if isinstance(given, cls):
            return given
        known = [field.name for field in fields(cls)]
        values = dict(given) if isinstance(given, Mapping) else {str(given): 0.0}
        if unknown := [name for name in values if name not in known]:
            raise ConfigError(f"pace has no {unknown[0]!r}; it has {', '.join(known)}")
        return cls(**values)

    @property
    def milliseconds(self) -> Mapping[str, float]:
        """As `clock.js` takes them."""
        return {"pace": 1e3 * self.action, "patience": 1e3 * self.patience, "longest": 1e3 * self.longest}


USUAL = Pace()


@dataclass(frozen=True, slots=True)
class Reading:
    """What a page says.

    Attributes:
        over: whether the episode has ended. reward: with the page's own decay over time. raw: without it.
        instruction: what is to be done. seconds: of the page's clock since the beginning.
        key: the fingerprint of what can be seen.
        step: what the oracle would do next, if it knows. problem: why it does not, where it has failed.
        lost: the document has gone: something has led the page elsewhere.
    """

    over: bool = False
    reward: float = 0.0
    raw: float = 0.0
    instruction: str = ""
    seconds: float = 0.0
    key: str = ""
    step: Mapping[str, Any] | None = None
    problem: str | None = None
    lost: bool = False

    @classmethod
    def of(cls, told: Mapping[str, Any] | None) -> Self:
        """From what `episode.js` and the oracle tell; `None` from a document without an episode."""
        if told is None:
            return cls(over=True, reward=-1.0, raw=-1.0, lost=True)
        return cls(
            over=told["over"],
            reward=float(told["reward"]),
            raw=float(told["raw"]),
            instruction=told["instruction"],
            seconds=float(told["seconds"]),
            key=told["key"],
            step=told["action"],
            problem=told.get("problem"),
        )
