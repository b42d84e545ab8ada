"""Evaluations between updates: greedy, through the run's own engine, and the best model is kept."""

from __future__ import annotations

import asyncio
from typing import Any

import torch

from agentenv.evaluate import evaluate
from agentenv.learn.checkpoints import Checkpoints, Progress
from agentenv.learn.events import Evaluated
from agentenv.learn.metrics import MetricsFile
from agentenv.learn.setting import Setting
from agentenv.policy.contract import Sampling
from agentenv.threads import THREADS

Weights = dict[str, torch.Tensor]


class Evaluations:
    """Evaluates one version at a time, beside training where that is asynchronous.

    Rollouts go on meanwhile, and so does the learner. Whoever publishes weights awaits `ended` first, so that a figure
    belongs to one version.

    Args:
        writing: held while the checkpoint folder changes, so that nobody removes what somebody else just wrote.
        progress: of the checkpoint the run goes on from.
    """

    def __init__(
        self,
        setting: Setting,
        checkpoints: Checkpoints,
        metrics: MetricsFile,
        writing: asyncio.Lock,
        progress: Progress,
    ) -> None:
        self.best_iteration = progress.best_iteration
        self.best_reward = progress.best_reward
        self.evaluated = progress.evaluated
        """The latest iteration whose evaluation has ended; −1 before the first."""
        self._setting = setting
        self._checkpoints = checkpoints
        self._metrics = metrics
        self._writing = writing
        self._running: asyncio.Task[None] | None = None

    @property
    def reached(self) -> bool:
        """Whether the target was reached, now or before this run was continued."""
        target = self._setting.config.evaluation.stop_at
        return target is not None and self.best_reward is not None and self.best_reward >= target

    def due(self, iteration: int) -> bool:
        """Whether the weights after an iteration are to be evaluated and have not been."""
        config = self._setting.config
        wanted = iteration == config.iterations or iteration % config.evaluation.every == 0
        return wanted and self.evaluated < iteration

    async def begin(self, iteration: int, model: Any, tasks: asyncio.TaskGroup, *, model_changes: bool) -> None:
        """Starts to evaluate what is being served, the weights after `iteration`, which `model` holds for now.

        Args:
            tasks: where the evaluation runs. model_changes: whether `model` may get others before it has ended.
        """
        weights = await THREADS.run(lambda: _copy(model)) if model_changes else None
        self._running = tasks.create_task(self._evaluate(iteration, model, weights), name="agentenv-evaluation")

    async def ended(self) -> None:
        """Waits for the evaluation that is under way, if any."""
        if self._running is not None:
            await self._running

    async def _evaluate(self, iteration: int, model: Any, weights: Weights | None) -> None:
        setting, config = self._setting, self._setting.config
        evaluation = await evaluate(
            setting.spec,
            setting.policy,
            tasks=config.evaluation.tasks,
            split=config.evaluation.split,
            seed=config.seed,
            sampling=Sampling(temperature=0.0, max_tokens=config.max_tokens),
            engine=setting.engine,
        )
        mean = evaluation.reward.mean
        best = mean is not None and (self.best_reward is None or mean > self.best_reward)
        async with self._writing:
            if best:
                await THREADS.run(lambda: self._checkpoints.save_best(model, iteration, weights))
                self.best_iteration, self.best_reward = iteration, mean
            self._metrics.append("evaluation", {"iteration": iteration, "best": best, **evaluation.to_json()})
            self.evaluated = iteration
        setting.tell(Evaluated(iteration, evaluation, best))


def _copy(model: Any) -> Weights:
    """The weights in main memory, where later updates do not reach them; tied ones stay one tensor."""
    copies: dict[tuple[int, torch.Size], torch.Tensor] = {}
    weights: Weights = {}
    for name, tensor in model.state_dict().items():
        place = (tensor.data_ptr(), tensor.shape)
        if place not in copies:
            copies[place] = tensor.detach().to("cpu", copy=True)
        weights[name] = copies[place]
    return weights
