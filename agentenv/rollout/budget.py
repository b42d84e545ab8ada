"""How long an episode may take, on a clock that forgives what others did to the event loop."""

from __future__ import annotations

import asyncio

from agentenv.errors import EpisodeTimeout
from agentenv.outcome import StopReason
from agentenv.rollout.lag import LoopMonitor, Stall


class OutOfTime(EpisodeTimeout):
    """A call did not answer in time; `reason` says whether its own limit or the episode's budget ran out."""

    def __init__(self, message: str, reason: StopReason) -> None:
        super().__init__(message)
        self.reason = reason


class Budget:
    """An episode's time: runs on the loop's clock, stands still while others block the loop.

    It is the `agentenv.clock.CLOCK` of everything the episode calls, so that a tool's timeout runs on it too.

    Args:
        clock: the shared clock without stalls.
        seconds: how much there is.
    """

    __slots__ = ("_charged", "clock", "deadline", "seconds", "stalls")

    def __init__(self, clock: LoopMonitor, seconds: float) -> None:
        self.clock = clock
        self._charged = 0.0
        self.deadline = clock.now() + seconds
        """When it will be spent, on its own clock."""
        self.seconds = seconds
        self.stalls: list[Stall] = []
        """The stalls this episode caused itself; they do count against it."""

    def now(self) -> float:
        """Seconds on this episode's own clock."""
        return self.clock.now() + self._charged

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self.clock.loop

    @property
    def left(self) -> float:
        """Seconds left; negative when overdrawn."""
        return self.deadline - self.now()

    def charge(self, stall: Stall) -> None:
        self._charged += stall.seconds
        self.stalls.append(stall)

    def spent(self, what: str) -> OutOfTime:
        """What to raise for what became of a call because this is spent, e.g. ``"my-env.step was cut off"``."""
        return OutOfTime(f"{what}: the episode's {self.seconds:g} s were spent", StopReason.EPISODE_TIMEOUT)
