"""Single-turn rollouts with agentenv, journal on or off: the counterpart of the runners in ``benchmarks.peers``.

python -m benchmarks.single_turn_runner --base-url http://127.0.0.1:8000/v1 --sizes 100 600 --concurrency 64 --save
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path

import agentenv
from agentenv.policy import Policy, Sampling
from agentenv.registry import EnvSpec
from agentenv.rollout import Journal, RolloutConfig, RolloutEngine, group_requests
from agentenv_openai import OpenAIPolicy
from benchmarks.environments import task
from benchmarks.measure import Report, Stopwatch
from benchmarks.peers.options import Options
from benchmarks.workload import sums

SPEC = EnvSpec(id="benchmark/SingleTurn-v0", entry_point="benchmarks.environments:SingleTurn")


async def play(options: Options, rollouts: int, policy: Policy) -> float:
    requests = group_requests(
        SPEC, (task(question) for question in sums(rollouts)), sampling=Sampling(max_tokens=64, temperature=1.0)
    )
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        journal = stack.enter_context(Journal.open(Path(folder) / "journal.sqlite")) if options.save else None
        config = RolloutConfig(max_concurrent=options.concurrency)
        engine = await stack.enter_async_context(RolloutEngine(policy, config, journal))
        rewards = [episode.reward async for episode in engine.run(requests)]
    scored = [reward for reward in rewards if reward is not None]
    assert len(scored) == rollouts
    return sum(scored) / rollouts


async def main() -> None:
    options = Options.parse()
    runs = []
    async with OpenAIPolicy(options.base_url, options.model) as policy:
        await play(options, options.warm_up, policy)
        for size in options.sizes:
            watch = Stopwatch()
            reward = await play(options, size, policy)
            runs.append(watch.run(size, reward))
    Report("agentenv", agentenv.__version__, tuple(runs)).print()


if __name__ == "__main__":
    asyncio.run(main())
