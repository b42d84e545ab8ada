"""Arbitrary episodes, of everything the contracts allow."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

from agentenv.env import Action, Observation
from agentenv.episode import Episode, EpisodeKey, Turn, Usage
from agentenv.messages import Message, Part, Role, ToolCall
from agentenv.outcome import Boundary, Failure, Status, StopReason
from agentenv.rewards import Component, Reward
from agentenv.tasks import Task
from agentenv.tokens import TokenRecord, VersionSpan
from agentenv.tools import ToolSpec

names = st.text(max_size=8)
finite = st.floats(allow_nan=False, allow_infinity=False)
seconds = st.floats(0, 1e6)
odd_text = st.one_of(st.text(max_size=20), st.sampled_from(["\ud800 alone", "\x00", "naïve 🐟", '"\\\n']))
json_values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), finite, odd_text),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3)),
    max_leaves=6,
)
objects = st.dictionaries(names, json_values, max_size=3)
extras = st.dictionaries(st.sampled_from(["refusal", "annotations", "audio"]), json_values, max_size=2)
parts = st.builds(Part, objects)
contents = st.one_of(st.none(), odd_text, st.lists(parts, max_size=2).map(tuple))
calls = st.lists(st.builds(ToolCall, names, names, odd_text), max_size=2).map(tuple)
optional_names = st.one_of(st.none(), names)
messages = st.builds(Message, st.sampled_from(Role), contents, calls, optional_names, optional_names, extras)
conversations = st.lists(messages, max_size=3).map(tuple)
tools = st.lists(st.builds(ToolSpec, names, odd_text, objects), max_size=2).map(tuple)
observations = st.builds(Observation, conversations, tools)
components = st.lists(st.builds(Component, names, finite, finite), max_size=2).map(tuple)
rewards = st.one_of(st.none(), st.builds(Reward, finite, components))
tasks = st.builds(Task, names, conversations, json_values, objects, names)
keys = st.builds(EpisodeKey, names, names, names, st.integers(0, 9), st.integers(0, 9))
failures = st.one_of(st.none(), st.builds(Failure, st.sampled_from(Boundary), names, odd_text, names))


@st.composite
def token_records(draw: st.DrawFn, before: tuple[int, ...] = ()) -> TokenRecord:
    ids = st.lists(st.one_of(st.integers(0, 300), st.integers(0, 2**32), st.integers(-5, 2**40)), max_size=6)
    prompt = before[: draw(st.integers(0, len(before)))] + tuple(draw(ids))
    sampled = tuple(draw(ids))
    single = st.floats(max_value=0, width=32, allow_nan=False)
    double = st.floats(max_value=0, allow_nan=False) | st.just(-math.inf)
    logprobs = draw(st.lists(draw(st.sampled_from([single, double])), min_size=len(sampled), max_size=len(sampled)))
    cut = draw(st.integers(0, len(sampled)))
    spans = (VersionSpan(3, 0, cut), VersionSpan(4, cut, len(sampled))) if sampled else ()
    return TokenRecord(prompt, sampled, tuple(logprobs), spans)


@st.composite
def turns(draw: st.DrawFn, index: int, before: tuple[int, ...]) -> Turn:
    tokens = draw(st.none() | token_records(before))
    return Turn(
        index=index,
        observation=draw(observations),
        action=Action(draw(messages), tokens),
        finish_reason=draw(names),
        usage=draw(st.builds(Usage, st.integers(0, 2**40), st.integers(0, 2**40))),
        reward=draw(rewards),
        terminated=draw(st.booleans()),
        truncated=draw(st.booleans()),
        info=draw(objects),
        state_key=draw(optional_names),
        model_seconds=draw(seconds),
        environment_seconds=draw(seconds),
        model_attempts=draw(st.integers(1, 5)),
    )


@st.composite
def episodes(draw: st.DrawFn) -> Episode:
    played: list[Turn] = []
    before: tuple[int, ...] = ()
    for index in range(draw(st.integers(0, 3))):
        played.append(draw(turns(index, before)))
        tokens = played[-1].action.tokens
        before = () if tokens is None else tokens.prompt_ids + tokens.sampled_ids
    return Episode(
        id=draw(st.uuids()).hex,
        key=draw(keys),
        task=draw(tasks),
        seed=draw(st.integers(0, 2**63 - 1)),
        policy=draw(names),
        attempt=draw(st.integers(1, 9)),
        status=draw(st.sampled_from(Status)),
        stop_reason=draw(st.sampled_from(StopReason)),
        turns=tuple(played),
        final_observation=draw(observations),
        failure=draw(failures),
        started_at=draw(seconds),
        seconds=draw(seconds),
    )


def parts_of_rewards(episode: Episode) -> list[tuple[Component, ...] | None]:
    """What `==` on rewards, which are floats, does not compare."""
    return [None if turn.reward is None else turn.reward.components for turn in episode.turns]
