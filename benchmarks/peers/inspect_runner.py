"""Single-turn rollouts with inspect-ai (``generate`` + ``includes``). Runs inside the virtual environment of that peer.

python -m benchmarks.peers.inspect_runner --base-url http://127.0.0.1:8000/v1 --sizes 100 600 --concurrency 64
"""

from __future__ import annotations

import importlib.metadata
import tempfile

from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import get_model
from inspect_ai.scorer import includes
from inspect_ai.solver import generate

from benchmarks.measure import Report, Stopwatch
from benchmarks.peers.options import Options
from benchmarks.workload import sums


def play(options: Options, rollouts: int) -> float:
    samples = [Sample(id=task.index, input=task.question, target=task.answer) for task in sums(rollouts)]
    task = Task(dataset=MemoryDataset(samples), solver=generate(), scorer=includes())
    model = get_model(f"openai-api/mock/{options.model}", base_url=options.base_url, api_key="none")
    with tempfile.TemporaryDirectory() as folder:
        (log,) = eval(
            task,
            model=model,
            display="none",
            log_dir=folder,
            # What inspect itself offers to spend less; everything else is as a user gets it.
            log_realtime=options.save,
            log_samples=options.save,
            ctl_server=False,
            max_connections=options.concurrency,
            max_samples=options.concurrency,
            max_tokens=64,
            temperature=1.0,
        )
    assert log.status == "success", log.error
    assert log.results is not None
    assert log.results.completed_samples == rollouts
    return float(log.results.scores[0].metrics["accuracy"].value)


def main() -> None:
    options = Options.parse()
    play(options, options.warm_up)
    runs = []
    for size in options.sizes:
        watch = Stopwatch()
        reward = play(options, size)
        runs.append(watch.run(size, reward))
    Report("inspect-ai", importlib.metadata.version("inspect-ai"), tuple(runs)).print()


if __name__ == "__main__":
    main()
