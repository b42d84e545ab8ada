"""A training run that `test_killed_training.py` starts in a process of its own, kills, and starts again."""

from __future__ import annotations

import asyncio
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM  # noqa: F401 - a child forked from a process that has it starts at once

from agentenv.learn.events import TrainEvent
from agentenv.learn.model import silence_transformers
from tests.learn.runs import run


def train_in_this_process(start: Path, folder: Path, changes: dict[str, Any], events: Connection) -> None:
    """Trains, and sends the name of every event down the pipe."""
    silence_transformers()
    torch.set_num_threads(1)

    def on_event(event: TrainEvent) -> None:
        events.send(type(event).__name__)

    asyncio.run(run(start, folder, on_event, **changes))
