"""What a rollout may cost in time and concurrency, and which failures are worth another try."""

from __future__ import annotations

import random
from typing import Annotated

import pydantic

from agentenv.outcome import Status

Seconds = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]

_NEVER_RETRIED = (Status.OK, Status.TRUNCATED, Status.CANCELLED)


class RetryConfig(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Which failed attempts are played again from the start, and after how long.

    Only `sandbox_error` is retried unless asked otherwise: it is infrastructure that failed, whatever the policy
    said. The other failures can depend on what the policy said. An environment that crashes on long answers, say,
    would be retried until an answer is short, and the data would lean towards short answers. Model errors have
    already been retried by the policy, call by call.

    Attributes:
        attempts: extra tries after the first; 0 for none.
        statuses: failures that are tried again. A wrong answer is not a failure and cannot be listed.
        backoff: seconds; try n waits a uniformly random time between 0 and `backoff · 2^(n-1)` ("full jitter").
        backoff_limit: seconds; no wait is longer.
    """

    attempts: pydantic.NonNegativeInt = 1
    statuses: frozenset[Status] = frozenset({Status.SANDBOX_ERROR})
    backoff: Seconds = 0.5
    backoff_limit: Seconds = 30.0

    @pydantic.field_validator("statuses")
    @classmethod
    def _failures_only(cls, statuses: frozenset[Status]) -> frozenset[Status]:
        wrong = sorted(status.value for status in statuses if status in _NEVER_RETRIED)
        if wrong:
            raise ValueError(f"{', '.join(wrong)} cannot be retried: only failures can")
        return statuses

    def delay(self, failed: int, rng: random.Random) -> float:
        """Seconds to wait after the `failed`-th failed try.

        The draw comes from `rng` and not, as tenacity's strategies would have it, from the global generator: nothing
        here may disturb a program's own random numbers.
        """
        return rng.uniform(0.0, min(self.backoff_limit, self.backoff * 2.0 ** min(failed - 1, 60)))


class RolloutConfig(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Limits of a rollout engine. All times are wall-clock seconds.

    Time in which someone else's code blocked the event loop does not count against an episode's limits.

    Attributes:
        max_concurrent: episodes alive at a time, over all runs of the engine together.
        model_timeout: one `policy.complete`, its own retries included.
        environment_timeout: one `reset` (construction included) or one `step` (tools and verifiers included).
        close_timeout: one `close`.
        episode_timeout: one episode from end to end: construction, reset, every turn, retries and their waits.
            Closing comes on top, so that an episode that ran out of time is still cleaned up.
        cancel_grace: how long a call that was told to stop may take to do so before it is abandoned.
        stall_threshold: the event loop counts as blocked when it was not free for longer than this.
        retry: which failures are tried again.
    """

    max_concurrent: pydantic.PositiveInt = 256
    model_timeout: Seconds = 300.0
    environment_timeout: Seconds = 60.0
    close_timeout: Seconds = 10.0
    episode_timeout: Seconds = 900.0
    cancel_grace: Seconds = 1.0
    stall_threshold: Seconds = 0.25
    retry: RetryConfig = RetryConfig()
