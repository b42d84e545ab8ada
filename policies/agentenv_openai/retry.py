"""Which failures of an endpoint are tried again, how long apart, and when to give up."""

from __future__ import annotations

import asyncio
import email.utils
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import tenacity

from agentenv.clock import now
from agentenv.errors import ConfigError


class TryAgain(Exception):
    """One attempt failed in a way that the next may not.

    Attributes:
        status: the HTTP status, or `None` when there was no usable answer.
        retry_after: seconds the endpoint asked to wait.
        interrupted: nothing is wrong: the answer was cut off on purpose, as when weights are replaced. Tried again at
            once, and not counted among the attempts that failed.
    """

    def __init__(
        self,
        problem: str,
        status: int | None = None,
        retry_after: float | None = None,
        *,
        interrupted: bool = False,
    ) -> None:
        super().__init__(problem)
        self.status = status
        self.retry_after = retry_after
        self.interrupted = interrupted

    @property
    def rate_limited(self) -> bool:
        return self.status == 429


@dataclass(frozen=True, slots=True)
class Retry:
    """When to try again.

    Pauses grow twofold from `first_pause` to `longest_pause`, each multiplied by a random number between 0.5 and 1 so
    that clients do not come back in step; a Retry-After of the endpoint lengthens them.

    Attributes:
        attempts: attempts in all that may fail otherwise than by a 429.
        rate_limited_attempts: attempts that may be answered 429. There are more of these, since finding an
            endpoint's capacity takes some.
        budget: seconds a call may take in all, pauses included; waiting for admission is not, and neither is time
            in which others blocked the event loop. A little less than the 300 s the rollout engine gives a call, so
            that a dead endpoint is reported as what it is.
    """

    attempts: int = 6
    rate_limited_attempts: int = 40
    budget: float = 280.0
    first_pause: float = 0.5
    longest_pause: float = 30.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = now

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.rate_limited_attempts < 1 or self.budget <= 0:
            raise ConfigError(f"attempts and the time budget of retries must be positive, got {self}")


class Tries:
    """The attempts of one call: counts them and the time they take, and decides for tenacity."""

    def __init__(self, retry: Retry, rng: random.Random) -> None:
        self._retry = retry
        self._rng = rng
        self._started = retry.clock()
        self._rate_limited = 0
        self._otherwise = 0
        self.queued = 0.0
        """Seconds spent waiting for admission."""
        self.made = 0
        """Attempts so far."""

    @property
    def seconds(self) -> float:
        """Time spent on attempts and pauses."""
        return self._retry.clock() - self._started - self.queued

    @property
    def left(self) -> float:
        """Seconds of the budget that are left."""
        return self._retry.budget - self.seconds

    def retrying(self) -> tenacity.AsyncRetrying:
        return tenacity.AsyncRetrying(
            sleep=self._retry.sleep,
            wait=self._pause,
            stop=self._stop,
            retry=tenacity.retry_if_exception_type(TryAgain),
            reraise=True,
        )

    def _pause(self, state: tenacity.RetryCallState) -> float:
        failed = _failure(state)
        if failed.interrupted:
            return 0.0
        if failed.rate_limited:
            self._rate_limited += 1
        else:
            self._otherwise += 1
        exponent = min((self._rate_limited if failed.rate_limited else self._otherwise) - 1, 30)
        pause = min(self._retry.longest_pause, self._retry.first_pause * 2.0**exponent) * self._rng.uniform(0.5, 1.0)
        return max(pause, failed.retry_after or 0.0)

    def _stop(self, state: tenacity.RetryCallState) -> bool:
        """tenacity asks this after `_pause`, so the upcoming pause is known."""
        return (
            self._otherwise >= self._retry.attempts
            or self._rate_limited >= self._retry.rate_limited_attempts
            or state.upcoming_sleep >= self.left
        )


def _failure(state: tenacity.RetryCallState) -> TryAgain:
    error = state.outcome.exception() if state.outcome is not None else None
    if not isinstance(error, TryAgain):
        raise TypeError(f"only TryAgain is tried again, not {error!r}")
    return error


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that `Retry-After` (a number or an HTTP date) or `Retry-After-Ms` asks to wait.

    >>> retry_after({"Retry-After": "1.5"})
    1.5
    """
    if (milliseconds := _number(headers.get("Retry-After-Ms"))) is not None:
        return milliseconds / 1000
    value = headers.get("Retry-After")
    if value is None or (seconds := _number(value)) is not None:
        return None if value is None else seconds
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < 1e6 else None
