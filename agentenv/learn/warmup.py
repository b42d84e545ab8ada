"""The warm-up: a demonstrator plays, and the model learns to imitate it before any reinforcement."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from agentenv.episode import Episode
from agentenv.evaluate.runner import draw_tasks
from agentenv.learn.config import TrainConfig, WarmupConfig
from agentenv.learn.demonstrations import Demonstrations
from agentenv.learn.errors import LearnError
from agentenv.learn.streams import WeightedRow
from agentenv.learn.supervised import SupervisedStep, supervise
from agentenv.policy.registry import make_policy
from agentenv.registry import EnvSpec
from agentenv.rollout import RolloutEngine, group_requests
from agentenv.threads import THREADS


async def warm_up(
    model: Any,
    model_folder: Path,
    spec: EnvSpec,
    config: TrainConfig,
    warmup: WarmupConfig,
    on_step: Callable[[SupervisedStep], None],
) -> None:
    """Trains `model` in place on what the demonstrator does in the environment's training tasks.

    Every scored episode is imitated, whatever its reward: a warm-up teaches how to speak, not how to succeed.

    Args:
        model_folder: of the tokenizer and chat template that turn conversations into rows.
        on_step: told after every optimizer step, from a worker thread.

    Raises:
        LearnError: no demonstration could be played, or the chat template does not say what to learn.
    """
    episodes = await _demonstrate(spec, config, warmup)
    threads = config.learner.threads

    def learn() -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        demonstrations = Demonstrations(model_folder)
        rows: list[WeightedRow] = [demonstrations.row(episode) for episode in episodes]
        supervise(model, lambda index: rows[index % len(rows)], warmup, on_step)

    await THREADS.run(learn)


async def _demonstrate(spec: EnvSpec, config: TrainConfig, warmup: WarmupConfig) -> list[Episode]:
    """The demonstrator's scored episodes, in the order of the tasks."""
    tasks = await draw_tasks(spec, split=config.split, count=warmup.demonstrations, seed=config.seed)
    requests = list(group_requests(spec, tasks, seed=config.seed))
    order = {request.key: position for position, request in enumerate(requests)}
    demonstrator = make_policy(warmup.demonstrator, **warmup.demonstrator_options)
    async with demonstrator, RolloutEngine(demonstrator, config.rollout) as engine:
        episodes = await engine.collect(requests)
    scored = [episode for episode in episodes if episode.status.scored]
    if not scored:
        failure = episodes[0].failure
        reason = failure.message if failure is not None else episodes[0].status.value
        raise LearnError(f"the demonstrator {warmup.demonstrator!r} finished no episode: {reason}")
    return sorted(scored, key=lambda episode: order[episode.key])
