"""What every part of a training run refers to: its configuration, its folder, the engine and the journal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agentenv.config import load_config
from agentenv.errors import ConfigError
from agentenv.evaluate.protocol import write_json
from agentenv.learn.config import TrainConfig
from agentenv.learn.events import TrainEvent
from agentenv.policy.contract import TrainablePolicy
from agentenv.registry import EnvSpec
from agentenv.registry import spec as find_spec
from agentenv.rollout import Journal, RolloutEngine

CONFIG = "config.json"
JOURNAL = "journal.sqlite"
METRICS = "metrics.jsonl"
UPDATES = "updates.jsonl"
ACCOUNTING = "accounting.json"
CHECKPOINTS = "checkpoints"


@dataclass(frozen=True, slots=True)
class Setting:
    """A run's surroundings. `engine` writes to `journal`; `tell` is told what happens, on the event loop."""

    config: TrainConfig
    spec: EnvSpec
    policy: TrainablePolicy
    folder: Path
    journal: Journal
    engine: RolloutEngine
    tell: Callable[[TrainEvent], None]


def claim_run_folder(run_folder: Path, config: TrainConfig) -> None:
    """Makes the folder this configuration's, or makes sure that it already is.

    Raises:
        ConfigError: it holds a run of another configuration; the message says what differs.
    """
    path = run_folder / CONFIG
    if path.exists():
        there = load_config(TrainConfig, path)
        if different := there.differences(config):
            lines = "".join(f"\n  {line}" for line in different)
            raise ConfigError(f"{run_folder} holds a run of another configuration; what differs:{lines}")
    run_folder.mkdir(parents=True, exist_ok=True)
    write_json(path, config.model_dump(mode="json"))


def environment_spec(config: TrainConfig) -> EnvSpec:
    """The environment a configuration names, with its keyword arguments and turn limit."""
    spec = find_spec(config.environment).with_kwargs(**config.environment_kwargs)
    return spec if config.max_turns is None else spec.model_copy(update={"max_turns": config.max_turns})
