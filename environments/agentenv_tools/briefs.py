"""Briefs: what an episode asks for, the calls that do it, and the row both travel in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from agentenv.errors import ConfigError
from agentenv.messages import ToolCall, user
from agentenv.tasks import Json, Task


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool, with its arguments as values."""

    name: str
    arguments: Mapping[str, Json] = field(default_factory=dict)

    def message_call(self, id: str) -> ToolCall:
        """As a policy would send it."""
        return ToolCall(id, self.name, json.dumps(self.arguments, ensure_ascii=False))

    def same_as(self, call: ToolCall) -> bool:
        """Whether a policy's call is this one, however its arguments are spelled."""
        if call.name != self.name:
            return False
        try:
            return bool(json.loads(call.arguments or "{}") == dict(self.arguments))
        except ValueError:
            return False


Turn = tuple[Call, ...]
"""Calls that do not depend on each other's results."""


@dataclass(frozen=True, slots=True)
class Brief:
    """What an episode asks for.

    Attributes:
        kind: which sort of task it is, for whoever wants to look at sorts by themselves.
        question: what the policy is told.
        turns: calls that do the task, turn by turn: the goal is the state that they lead to.
        answer: what has to be answered; `None` where nothing is asked.
        sources: the documents that say so, by id.
    """

    kind: str
    question: str
    turns: tuple[Turn, ...]
    answer: str | int | None = None
    sources: tuple[str, ...] = ()

    def task(self, seed: int) -> Task:
        """The brief as a row; its id and split are filled in by the task source.

        Args:
            seed: of the worlds in which it makes sense. It is part of what makes a task another task.
        """
        answer = {
            "seed": seed,
            "calls": [[{"name": call.name, "arguments": dict(call.arguments)} for call in turn] for turn in self.turns],
            "answer": self.answer,
            "sources": list(self.sources),
        }
        return Task("", (user(self.question),), answer, {"kind": self.kind})

    @classmethod
    def of(cls, task: Task) -> Self:
        """The brief that `task()` made the row from.

        Raises:
            ConfigError: it is a row of something else.
        """
        try:
            turns = tuple(
                tuple(Call(call["name"], call["arguments"]) for call in turn) for turn in task.answer["calls"]
            )
            return cls(
                str(task.data.get("kind", "")),
                task.question,
                turns,
                task.answer["answer"],
                tuple(task.answer["sources"]),
            )
        except (TypeError, KeyError) as error:
            raise ConfigError(
                f"the task {task.id!r} is no row of this environment: its answer has no {error}"
            ) from error


def seed_of(task: Task) -> int:
    """The seed of a row's worlds.

    Raises:
        ConfigError: it has none.
    """
    seed = task.answer.get("seed") if isinstance(task.answer, Mapping) else None
    if not isinstance(seed, int):
        raise ConfigError(f"the task {task.id!r} is no row of this environment: its answer has no seed")
    return seed
