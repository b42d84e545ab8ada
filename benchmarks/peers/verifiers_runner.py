"""Single-turn rollouts with verifiers' ``SingleTurnEnv``. Runs inside the virtual environment of that peer.

python -m benchmarks.peers.verifiers_runner --base-url http://127.0.0.1:8000/v1 --sizes 100 600 --concurrency 64
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import tempfile
from pathlib import Path

import verifiers as vf
from datasets import Dataset

from benchmarks.measure import Report, Stopwatch
from benchmarks.peers.options import Options
from benchmarks.workload import sums


def right_answer(completion: vf.Messages, answer: str) -> float:
    """1 if the answer occurs in the last message: the same rule as inspect's ``includes``."""
    return 1.0 if answer in str(completion[-1].content) else 0.0


def environment(rollouts: int) -> vf.SingleTurnEnv:
    rows = [{"question": task.question, "answer": task.answer} for task in sums(rollouts)]
    return vf.SingleTurnEnv(dataset=Dataset.from_list(rows), rubric=vf.Rubric(funcs=[right_answer]))


async def play(options: Options, rollouts: int, client: vf.Client) -> float:
    env = environment(rollouts)
    with tempfile.TemporaryDirectory() as folder:
        outputs = await env.generate(
            env.get_dataset(),
            client=client,
            model=options.model,
            sampling_args={"max_tokens": 64, "temperature": 1.0},
            max_concurrent=options.concurrency,
            results_path=Path(folder) if options.save else None,
            save_results=options.save,
            on_progress=lambda *_: None,
        )
    rewards = [output["reward"] for output in outputs["outputs"]]
    assert len(rewards) == rollouts
    return float(sum(rewards) / len(rewards))


async def main() -> None:
    logging.disable(logging.WARNING)
    options = Options.parse()
    client = vf.OpenAIChatCompletionsClient(vf.ClientConfig(api_key_var="NO_KEY_NEEDED", api_base_url=options.base_url))
    await play(options, options.warm_up, client)
    runs = []
    for size in options.sizes:
        watch = Stopwatch()
        reward = await play(options, size, client)
        runs.append(watch.run(size, reward))
    await client.close()
    Report("verifiers", importlib.metadata.version("verifiers"), tuple(runs)).print()


if __name__ == "__main__":
    asyncio.run(main())
