"""A run that is killed and started again by `test_kill.py`: `python -m tests.rollout.killed_run JOURNAL`.

Prints one line per episode it is handed, so that the test knows what had been yielded when the kill came.
"""

from __future__ import annotations

import asyncio
import random
import sys

from agentenv import SandboxError, StepResult
from agentenv.env import Action
from agentenv.rollout import Journal, RetryConfig, RolloutConfig, RolloutEngine, group_requests
from tests.rollout.actors import HEALTHY, Scripted, Turns, tasks

TASKS, SIBLINGS, TURNS = 100, 3, 3
LUCK = random.SystemRandom()


class Flaky(Turns):
    async def step(self, action: Action) -> StepResult:
        await asyncio.sleep(LUCK.random() * 0.02)
        if LUCK.random() < 0.05:
            raise SandboxError("now and then")
        return await super().step(action)


async def main() -> None:
    retry = RetryConfig(attempts=100, backoff=0.001, backoff_limit=0.01)
    wanted = group_requests(HEALTHY, tasks(TASKS, turns=TURNS), siblings=SIBLINGS)
    with Journal.open(sys.argv[1]) as journal:
        config = RolloutConfig(max_concurrent=16, retry=retry)
        async with RolloutEngine(Scripted(), config, journal, make_env=lambda _: Flaky()) as engine:
            async for episode in engine.run(wanted):
                print(f"{episode.key} {episode.id} {episode.reward}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
