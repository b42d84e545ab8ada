"""A training run that `test_killed_training.py` starts in a process of its own, kills, and starts again."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM  # noqa: F401 - a child forked from a process that has it starts at once

from agentenv.learn.events import TrainEvent
from agentenv.learn.model import silence_transformers
from agentenv.messages import Message
from agentenv.policy.contract import Completion, Sampling, Session
from agentenv.tools import ToolSpec
from tests.learn.letters import DirectPolicy
from tests.learn.runs import run

PUBLISHED = "published.txt"
LUCK = random.SystemRandom()


class Unpunctual(DirectPolicy):
    """Answers after a while that no two runs agree on.

    And it appends a line to a file for all weights that it is given: their version and what they hash to.
    """

    def __init__(self, folder: Path, published: Path) -> None:
        super().__init__(folder)
        self._published = published

    async def publish(self, weights: Mapping[str, torch.Tensor], version: int) -> None:
        await super().publish(weights, version)
        digest = hashlib.sha256(self.weights().numpy().tobytes()).hexdigest()
        with self._published.open("a") as file:
            file.write(f"{version} {digest}\n")

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], sampling: Sampling, session: Session
    ) -> Completion:
        for _ in range(LUCK.randrange(100)):
            await asyncio.sleep(0)
        return await super().complete(messages, tools, sampling, session)


def train_in_this_process(start: Path, folder: Path, changes: dict[str, Any], events: Connection) -> None:
    """Trains, and sends the name of every event down the pipe."""
    silence_transformers()
    torch.set_num_threads(1)
    folder.mkdir(exist_ok=True)

    def on_event(event: TrainEvent) -> None:
        events.send(type(event).__name__)

    asyncio.run(run(start, folder, on_event, Unpunctual(start, folder / PUBLISHED), **changes))
