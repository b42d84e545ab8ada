"""Many episodes at a time with agentenv, journal on; prints how long each took and what they cost together.

python -m benchmarks.episodes_runner FiveTurns --base-url http://127.0.0.1:8000/v1 --episodes 1000
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from agentenv.policy import Policy, Sampling
from agentenv.registry import EnvSpec
from agentenv.rollout import Journal, RolloutConfig, RolloutEngine, group_requests
from agentenv_openai import OpenAIPolicy
from benchmarks.environments import task
from benchmarks.measure import Stopwatch, raise_file_limit
from benchmarks.workload import sums


@dataclass(frozen=True, slots=True)
class Timing:
    """One run of many episodes, every one of them alive from the start.

    Attributes:
        start_s: seconds from the start of this process to the first request: imports, journal, connection.
        wall_s: seconds from then to the last episode's record on disk.
        cpu_s: of this process, over the same time.
        seconds: of each episode, in order of the tasks.
        peak_in_flight: episodes that were alive at the same time.
        loop_blocked_s: how long the event loop was blocked for longer than 0.25 s at a time, altogether.
    """

    start_s: float
    wall_s: float
    cpu_s: float
    seconds: tuple[float, ...]
    peak_in_flight: int
    loop_blocked_s: float


async def play(environment: str, episodes: int, policy: Policy) -> Timing:
    spec = EnvSpec(id=f"benchmark/{environment}-v0", entry_point=f"benchmarks.environments:{environment}")
    requests = list(
        group_requests(spec, [task(question) for question in sums(episodes)], sampling=Sampling(max_tokens=64))
    )
    with tempfile.TemporaryDirectory() as folder, Journal.open(Path(folder) / "journal.sqlite") as journal:
        async with RolloutEngine(policy, RolloutConfig(max_concurrent=episodes), journal) as engine:
            start = time.clock_gettime(time.CLOCK_BOOTTIME) - _process_start()
            watch = Stopwatch()
            found = await engine.collect(requests)
            run = watch.run(episodes, None)
    order = {request.task.id: position for position, request in enumerate(requests)}
    found.sort(key=lambda episode: order[episode.task.id])
    assert all(episode.status.scored for episode in found), [episode.failure for episode in found if episode.failure]
    stats = engine.stats
    seconds = tuple(round(episode.seconds, 3) for episode in found)
    return Timing(round(start, 3), run.wall_s, run.cpu_s, seconds, stats.peak_in_flight, stats.stalled_seconds)


def _process_start() -> float:
    """When this process was started, in seconds since the system's."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("environment", help="a class in benchmarks.environments")
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--episodes", type=int, required=True)
    given = parser.parse_args()
    raise_file_limit()
    async with OpenAIPolicy(given.base_url, "mock") as policy:
        timing = await play(given.environment, given.episodes, policy)
    print(json.dumps(asdict(timing)))


if __name__ == "__main__":
    asyncio.run(main())
