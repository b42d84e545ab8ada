"""Small training runs in the toy world of letters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from agentenv.learn.config import TrainConfig
from agentenv.learn.events import TrainEvent, TrainResult
from agentenv.learn.loop import train
from tests.learn.build import tiny_model
from tests.learn.letters import FIRST_LETTER, LETTERS, DirectPolicy

ENVIRONMENT = f"{Path(__file__).parent / 'letters.py'}:Letters"


def save_start(folder: Path) -> Path:
    """Makes the folder that of a model whose only words are the letters."""
    model = tiny_model(vocab_size=FIRST_LETTER + len(LETTERS))
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text("{}")
    return folder


def config(**changes: Any) -> TrainConfig:
    settings: dict[str, Any] = {
        "environment": ENVIRONMENT,
        "iterations": 4,
        "tasks_per_iteration": 3,
        "siblings": 4,
        "max_tokens": 3,
        "checkpoint_every": 2,
        "learner": {"lr": 1e-2, "minibatches": 2},
        "evaluation": {"every": 2, "split": "dev", "tasks": 2},
    }
    return TrainConfig.model_validate(settings | changes)


async def run(
    start: Path,
    folder: Path,
    on_event: Callable[[TrainEvent], None] = lambda event: None,
    policy: DirectPolicy | None = None,
    **changes: Any,
) -> tuple[TrainResult, DirectPolicy]:
    """Trains, and returns the result and the policy as it was left."""
    async with policy or DirectPolicy(start) as opened:  # type: ignore[attr-defined]
        result = await train(config(**changes), opened, folder, on_event)
    return result, opened
