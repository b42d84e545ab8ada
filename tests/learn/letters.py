"""A toy world for the training loop: say the wanted letter. And a policy that samples in process, token by token."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from agentenv.chat import ChatEnv
from agentenv.messages import Message, Role, assistant, user
from agentenv.policy.contract import Completion, Sampling, Session, TrainablePolicy
from agentenv.rewards import reward
from agentenv.tasks import ListTasks, Task, TaskSet
from agentenv.tokens import TokenRecord, VersionSpan
from agentenv.tools import ToolSpec

LETTERS = "abcdefgh"
ROLE_IDS = {Role.USER: 1, Role.ASSISTANT: 2}
FIRST_LETTER = 3


class Letters(ChatEnv):
    """Two turns; the return is the share of wanted letters in the second answer.

    Args:
        unscored: every episode comes back without a reward.
        broken: every episode raises.
    """

    def __init__(self, unscored: bool = False, broken: bool = False) -> None:
        super().__init__()
        self._unscored = unscored
        self._broken = broken

    def tasks(self, split: str = "train") -> TaskSet:
        wanted = LETTERS[:4] if split == "train" else LETTERS[:2]
        return ListTasks([Task.ask(f"{split}-{letter}", letter, answer=letter, split=split) for letter in wanted])

    async def setup(self) -> None:
        if self._broken:
            raise RuntimeError("the letters have run out")

    async def respond(self, message: Message) -> Sequence[Message] | None:
        turns = sum(each.role == Role.ASSISTANT for each in self.messages)
        return (user(self.task.answer),) if turns == 1 else None

    @reward(inline=True)
    def wanted(self, completion: str, answer: str) -> float | None:
        return None if self._unscored else completion.count(answer) / max(len(completion), 1)


class DirectPolicy(TrainablePolicy):
    """Samples from a model in process, one request at a time: the same seed gives the same tokens to the last bit."""

    name = "direct"

    def __init__(self, folder: Path) -> None:
        from agentenv.learn.model import load_model

        self._folder = folder
        self._model: Any = load_model(folder).eval()
        self.version = 0

    @property
    def model_folder(self) -> Path:
        return self._folder

    async def publish(self, weights: Mapping[str, torch.Tensor], version: int) -> None:
        self._model.load_state_dict({name: tensor.clone() for name, tensor in weights.items()})
        self.version = version

    def weights(self) -> torch.Tensor:
        """All weights now serving, in one vector."""
        return torch.cat([tensor.flatten() for tensor in self._model.state_dict().values()])

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], sampling: Sampling, session: Session
    ) -> Completion:
        prompt: list[int] = []
        for message in messages:
            prompt += [ROLE_IDS[message.role], *(FIRST_LETTER + LETTERS.index(letter) for letter in message.text)]
        prompt.append(ROLE_IDS[Role.ASSISTANT])
        rng = random.Random(f"{session.seed}/{len(messages)}")
        sampled: list[int] = []
        logprobs: list[float] = []
        for _ in range(sampling.max_tokens or 1):
            token, logprob = self._draw([*prompt, *sampled], sampling.temperature or 0.0, rng)
            sampled.append(token)
            logprobs.append(logprob)
        text = "".join(LETTERS[token - FIRST_LETTER] for token in sampled)
        record = TokenRecord(
            tuple(prompt), tuple(sampled), tuple(logprobs), (VersionSpan(self.version, 0, len(sampled)),)
        )
        return Completion(assistant(text), "length", tokens=record if sampling.tokens else None)

    @torch.no_grad()
    def _draw(self, ids: list[int], temperature: float, rng: random.Random) -> tuple[int, float]:
        logits = self._model(input_ids=torch.tensor([ids])).logits[0, -1]
        if temperature == 0.0:
            letters = logits[FIRST_LETTER : FIRST_LETTER + len(LETTERS)]
            return FIRST_LETTER + int(letters.argmax()), 0.0
        logprobs = torch.log_softmax(logits / temperature, dim=-1)
        # Only letters can be said; the model has (nearly) no other words.
        letters = logprobs[FIRST_LETTER : FIRST_LETTER + len(LETTERS)]
        chosen = rng.choices(range(len(LETTERS)), weights=letters.exp().tolist())[0]
        assert math.isfinite(letters[chosen].item())
        return FIRST_LETTER + chosen, letters[chosen].item()
