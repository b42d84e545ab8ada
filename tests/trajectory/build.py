"""Episodes made of nothing but token records, for the tests of trajectories and learners."""

from __future__ import annotations

from collections.abc import Sequence

from agentenv.env import Action, Observation
from agentenv.episode import Episode, EpisodeKey, Turn, Usage
from agentenv.messages import assistant
from agentenv.outcome import Status, StopReason
from agentenv.rewards import Component, Reward
from agentenv.tasks import Task
from agentenv.tokens import TokenRecord, VersionSpan


def call(prompt: Sequence[int], sampled: Sequence[int], *, version: int = 0, logprob: float = -0.5) -> TokenRecord:
    """One model call; the logprob of its n-th sampled token is `logprob - n`."""
    logprobs = tuple(logprob - n for n in range(len(sampled)))
    return TokenRecord(tuple(prompt), tuple(sampled), logprobs, (VersionSpan(version, 0, len(sampled)),))


def reward(value: float) -> Reward:
    return Reward.of(Component("reward", value))


def episode(
    *calls: TokenRecord | None,
    id: str = "e",
    group: str = "g",
    sibling: int = 0,
    final_reward: float | None = 1.0,
    status: Status = Status.OK,
) -> Episode:
    """An episode of the given model calls: steps are worth 0 and the last one `final_reward`."""
    last = len(calls) - 1
    turns = tuple(
        Turn(
            index=index,
            observation=Observation(),
            action=Action(assistant("…"), tokens),
            finish_reason="stop",
            usage=Usage(),
            reward=(None if final_reward is None else reward(final_reward)) if index == last else reward(0.0),
            terminated=index == last and status is Status.OK,
            truncated=False,
            state_key=f"state {index}",
        )
        for index, tokens in enumerate(calls)
    )
    stop = StopReason.TERMINATED if status is Status.OK else StopReason.TOKEN_LIMIT
    key = EpisodeKey("toy-v0", "task", group, sibling, iteration=3)
    return Episode(id, key, Task("task"), 0, "policy", 1, status, stop, turns)
