"""The final test of the first and the best model, on tasks that neither training nor the choice of the best saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentenv.evaluate import evaluate
from agentenv.learn.config import FinalTestConfig, TrainConfig
from agentenv.learn.events import Tested
from agentenv.learn.metrics import MetricsFile
from agentenv.learn.model import load_model
from agentenv.policy.contract import Sampling, TrainablePolicy
from agentenv.registry import EnvSpec
from agentenv.threads import THREADS


@dataclass(frozen=True, slots=True)
class FinalTest:
    """Tests greedily and tells the result; each test has a folder of its own and is resumed like any evaluation."""

    wanted: FinalTestConfig
    config: TrainConfig
    spec: EnvSpec
    policy: TrainablePolicy
    run_folder: Path
    metrics: MetricsFile
    tell: Callable[[Tested], None]

    async def before(self, iteration: int) -> Tested | None:
        """Tests the weights of iteration 0, which are the ones served now if that is where the run stands.

        A run that is continued further on reads the result, or goes without.
        """
        if iteration > 0 and not self._folder("before", 0).exists():
            return None
        return await self._test("before", 0)

    async def after(self, iteration: int, model_folder: Path) -> Tested:
        """Has the model of this folder served, and tests it."""
        model: Any = await THREADS.run(lambda: load_model(model_folder))
        await self.policy.publish(model.state_dict(), iteration)
        return await self._test("after", iteration)

    def _folder(self, name: str, iteration: int) -> Path:
        return self.run_folder / f"test-{name}-{iteration:06d}"

    async def _test(self, name: str, iteration: int) -> Tested:
        folder = self._folder(name, iteration)
        evaluation = await evaluate(
            self.spec,
            self.policy,
            tasks=self.wanted.tasks,
            split=self.wanted.split,
            seed=self.config.seed,
            sampling=Sampling(temperature=0.0, max_tokens=self.config.max_tokens),
            run_folder=folder,
            config=self.config.rollout,
        )
        told = [(line["name"], line["iteration"]) for line in self.metrics.read() if line["kind"] == "test"]
        if (name, iteration) not in told:
            self.metrics.append("test", {"iteration": iteration, "name": name, **evaluation.to_json()})
        tested = Tested(iteration, evaluation, folder)
        self.tell(tested)
        return tested
