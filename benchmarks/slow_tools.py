"""The calculator with tools as slow as real ones: most answer soon, a few take very long."""

from __future__ import annotations

import asyncio
import math
import random

from agentenv.env import Action, StepResult
from agentenv_calculator.env import Calculator

P99_OVER_MEDIAN = 20.0
SIGMA = math.log(P99_OVER_MEDIAN) / 2.3263
"""Of the log-normal latency: its 99th percentile is 20 medians."""


class SlowTools(Calculator):
    """Every tool call takes a log-normal time.

    Args:
        median: seconds.
    """

    def __init__(self, median: float = 0.25, level: int | tuple[int, int] = (1, 2), operand_max: int = 20) -> None:
        super().__init__(level=level, operand_max=operand_max)
        self._median = median

    async def step(self, action: Action) -> StepResult:
        if action.message.tool_calls:
            # Siblings share the environment's seed; their tools shall not share their luck.
            await asyncio.sleep(random.Random().lognormvariate(math.log(self._median), SIGMA))
        return await super().step(action)
