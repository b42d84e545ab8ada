"""What an episode costs, in CPU time and in memory, while a given number of others wait beside it.

python -m benchmarks.waiting_runner cpu --base-url http://127.0.0.1:8000/v1 --concurrency 1000
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import tempfile
import tracemalloc
from pathlib import Path

from agentenv.messages import user
from agentenv.policy import Sampling, Session
from agentenv.rollout import Journal, RolloutConfig, RolloutEngine, group_requests
from agentenv_openai import OpenAIPolicy
from benchmarks.environments import task
from benchmarks.measure import Stopwatch, raise_file_limit, resident_bytes
from benchmarks.single_turn_runner import SPEC
from benchmarks.workload import sums


async def play(policy: OpenAIPolicy, journal: Journal, concurrency: int, episodes: int, iteration: int) -> None:
    """Single-turn episodes, ``concurrency`` of them waiting for the model whenever it answers."""
    policy.model = f"together-{concurrency}"
    tasks = (task(question) for question in sums(episodes))
    requests = group_requests(SPEC, tasks, iteration=iteration, sampling=Sampling(max_tokens=64))
    async with RolloutEngine(policy, RolloutConfig(max_concurrent=concurrency), journal) as engine:
        async for episode in engine.run(requests):
            assert episode.status.scored, episode.failure


async def cpu_a_episode(policy: OpenAIPolicy, journal: Journal, concurrency: int, episodes: int) -> float:
    """CPU seconds an episode takes once every connection is open."""
    await play(policy, journal, concurrency, concurrency, iteration=0)
    watch = Stopwatch()
    await play(policy, journal, concurrency, episodes, iteration=1)
    return watch.run(episodes, None).cpu_s / episodes


async def bytes_a_episode(policy: OpenAIPolicy, journal: Journal, concurrency: int, *, traced: bool) -> float:
    """Bytes an episode holds while it waits for the model, its connection, environment and conversation included.

    Resident memory, or with ``traced`` what Python's allocator has handed out. The model waits for one request more
    than there are episodes; it is sent once the memory has been read.
    """
    await play(policy, journal, 10, 100, iteration=0)
    policy.model = f"together-{concurrency + 1}"
    tasks = [task(question) for question in sums(concurrency)]
    requests = list(group_requests(SPEC, tasks, iteration=1, sampling=Sampling(max_tokens=64)))
    if traced:
        tracemalloc.start()
    gc.collect()
    before = tracemalloc.get_traced_memory()[0] if traced else resident_bytes()
    async with RolloutEngine(policy, RolloutConfig(max_concurrent=concurrency), journal) as engine:
        playing = asyncio.create_task(engine.collect(requests))
        while policy.stats.in_flight < concurrency:  # noqa: ASYNC110 - the counters of a policy wake nobody
            await asyncio.sleep(0.05)
        gc.collect()
        held = (tracemalloc.get_traced_memory()[0] if traced else resident_bytes()) - before
        await policy.complete((user("Go on."),), (), Sampling(), Session("last", 0))
        await playing
    return held / concurrency


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["cpu", "resident", "traced"])
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--episodes", type=int, default=0)
    given = parser.parse_args()
    raise_file_limit()
    with tempfile.TemporaryDirectory() as folder:
        policy = OpenAIPolicy(given.base_url, "mock")
        with Journal.open(Path(folder) / "journal.sqlite") as journal:
            async with policy:
                if given.what == "cpu":
                    found = await cpu_a_episode(policy, journal, given.concurrency, given.episodes)
                else:
                    found = await bytes_a_episode(policy, journal, given.concurrency, traced=given.what == "traced")
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main())
