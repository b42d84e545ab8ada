"""The start of a training run: the model from the latest checkpoint or warmed up, and served."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import torch

from agentenv.env import Env
from agentenv.errors import ConfigError
from agentenv.learn.checkpoints import Checkpoints, Progress
from agentenv.learn.config import WarmupConfig
from agentenv.learn.config.advantage import Gigpo
from agentenv.learn.events import CheckpointSaved, RunStarted, WarmupStep
from agentenv.learn.learner import Learner
from agentenv.learn.metrics import MetricsFile
from agentenv.learn.model import load_model
from agentenv.learn.setting import CHECKPOINTS, METRICS, Setting
from agentenv.learn.sources import TaskStream
from agentenv.learn.supervised import SupervisedStep
from agentenv.learn.warmup import warm_up
from agentenv.threads import THREADS
from agentenv.wrappers import Wrapper


@dataclass(frozen=True, slots=True)
class Started:
    """What training goes on with: a learner whose weights are being served, where the run is, and its files."""

    learner: Learner
    progress: Progress
    tasks: TaskStream
    checkpoints: Checkpoints
    metrics: MetricsFile


async def start(setting: Setting) -> Started:
    """Loads the model, from the latest checkpoint where there is one, warms a new one up, and serves it.

    Raises:
        ConfigError: the split has too few tasks.
        LearnError: there is no model, or a checkpoint cannot be read or written.
    """
    config, policy = setting.config, setting.policy
    checkpoints = Checkpoints(setting.folder / CHECKPOINTS, policy.model_folder)
    checkpoint = await THREADS.run(checkpoints.latest)
    model_folder = policy.model_folder if checkpoint is None else checkpoint.folder
    model: Any = await THREADS.run(lambda: load_model(model_folder))
    tasks = await _tasks(setting)
    progress = Progress() if checkpoint is None else checkpoint.progress
    learner = Learner(model, config)
    episodes = config.tasks_per_iteration * config.siblings
    setting.tell(RunStarted(setting.folder, config.iterations, episodes, progress.iteration))
    if checkpoint is None and config.warmup is not None:
        await _warm_up(setting, config.warmup, learner, checkpoints)
    if config.needs_reference:
        learner.refer_to(await THREADS.run(lambda: checkpoints.reference(model)))
    if checkpoint is not None:
        learner.load_state_dict(checkpoint.learner)
        torch.set_rng_state(checkpoint.torch_rng)
    await policy.publish(model.state_dict(), progress.iteration)
    metrics = MetricsFile(setting.folder / METRICS)
    metrics.forget_after(progress.iteration, evaluation=progress.evaluated)
    return Started(learner, progress, tasks, checkpoints, metrics)


async def _tasks(setting: Setting) -> TaskStream:
    config, env = setting.config, setting.spec.make()
    try:
        if isinstance(config.advantage, Gigpo) and not _names_states(env):
            raise ConfigError(
                f"gigpo compares steps that were taken in the same state, and {setting.spec.id} does not name its "
                "states: give it a state_key(), or take process_supervision"
            )
        return TaskStream(env.tasks(config.split), count=config.tasks_per_iteration, seed=config.seed)
    finally:
        await env.close()


def _names_states(env: Env) -> bool:
    inner = env.unwrapped if isinstance(env, Wrapper) else env
    return type(inner).state_key is not Env.state_key


async def _warm_up(setting: Setting, warmup: WarmupConfig, learner: Learner, checkpoints: Checkpoints) -> None:
    """Imitation first; its result is checkpoint 0, so that a resumed run does not learn it again."""
    loop = asyncio.get_running_loop()

    def on_step(step: SupervisedStep) -> None:
        event = WarmupStep(step.step + 1, warmup.steps, step.loss)
        loop.call_soon_threadsafe(setting.tell, event)

    folder = setting.policy.model_folder
    await warm_up(learner.model, folder, setting.spec, setting.config, warmup, on_step)
    saved = await THREADS.run(lambda: checkpoints.save(learner.model, learner.state_dict(), Progress()))
    setting.tell(CheckpointSaved(0, saved))
