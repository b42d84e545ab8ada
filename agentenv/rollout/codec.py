"""Episodes as JSON and back, exactly: every message, reward component, token and number comes back as it was.

What is promised holds for what the contracts allow: infos, task data and tool schemas made of JSON values. Anything
else an environment puts there (a NumPy number, an object) is written as the nearest JSON value, or as its `repr`,
rather than losing the episode.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from agentenv.env import Action, Observation
from agentenv.episode import Episode, EpisodeKey, Turn, Usage
from agentenv.messages import Message, Part, Role, ToolCall, Wire
from agentenv.outcome import Boundary, Failure, Status, StopReason
from agentenv.rewards import Component, Reward
from agentenv.tasks import Task
from agentenv.tokens import TokenRecord, VersionSpan
from agentenv.tools import ToolSpec

_NAMED = frozenset({"role", "content", "tool_calls", "tool_call_id", "name"})


def to_json(value: object) -> str:
    """JSON text that any database and file takes, lone surrogates included."""
    try:
        text = _encode(value)
    except (TypeError, ValueError, RecursionError):
        text = _encode({"unserialisable": repr(value)[:2000]})
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(json.loads(text), separators=(",", ":"))
    return text


def from_json(text: str) -> Any:
    return json.loads(text)


def episode_to_wire(episode: Episode) -> Wire:
    """The whole episode as one JSON object; `episode_from_wire` reads it back."""
    return {
        "id": episode.id,
        "key": dataclasses.asdict(episode.key),
        "task": task_to_wire(episode.task),
        "seed": episode.seed,
        "policy": episode.policy,
        "attempt": episode.attempt,
        "status": episode.status.value,
        "stop_reason": episode.stop_reason.value,
        "reward": episode.reward,
        "turns": [turn_to_wire(turn) for turn in episode.turns],
        "final_observation": observation_to_wire(episode.final_observation),
        "failure": failure_to_wire(episode.failure),
        "started_at": episode.started_at,
        "seconds": episode.seconds,
    }


def episode_from_wire(wire: Mapping[str, Any]) -> Episode:
    return Episode(
        wire["id"],
        EpisodeKey(**wire["key"]),
        task_from_wire(wire["task"]),
        wire["seed"],
        wire["policy"],
        wire["attempt"],
        Status(wire["status"]),
        StopReason(wire["stop_reason"]),
        tuple(turn_from_wire(turn) for turn in wire["turns"]),
        observation_from_wire(wire["final_observation"]),
        failure_from_wire(wire["failure"]),
        wire["started_at"],
        wire["seconds"],
    )


def turn_to_wire(turn: Turn) -> Wire:
    return {
        "index": turn.index,
        "observation": observation_to_wire(turn.observation),
        "message": turn.action.message.to_wire(),
        "tokens": tokens_to_wire(turn.action.tokens),
        "finish_reason": turn.finish_reason,
        "usage": [turn.usage.prompt_tokens, turn.usage.completion_tokens],
        "reward": reward_to_wire(turn.reward),
        "terminated": turn.terminated,
        "truncated": turn.truncated,
        "info": turn.info,
        "state_key": turn.state_key,
        "model_seconds": turn.model_seconds,
        "environment_seconds": turn.environment_seconds,
        "model_attempts": turn.model_attempts,
    }


def turn_from_wire(wire: Mapping[str, Any]) -> Turn:
    return Turn(
        wire["index"],
        observation_from_wire(wire["observation"]),
        Action(message_from_wire(wire["message"]), tokens_from_wire(wire["tokens"])),
        wire["finish_reason"],
        Usage(*wire["usage"]),
        reward_from_wire(wire["reward"]),
        wire["terminated"],
        wire["truncated"],
        wire["info"],
        wire["state_key"],
        wire["model_seconds"],
        wire["environment_seconds"],
        wire["model_attempts"],
    )


def task_to_wire(task: Task) -> Wire:
    prompt = [message.to_wire() for message in task.prompt]
    return {"id": task.id, "prompt": prompt, "answer": task.answer, "data": task.data, "split": task.split}


def task_from_wire(wire: Mapping[str, Any]) -> Task:
    prompt = tuple(message_from_wire(message) for message in wire["prompt"])
    return Task(wire["id"], prompt, wire["answer"], wire["data"], wire["split"])


def observation_to_wire(observation: Observation) -> Wire:
    return {
        "messages": [message.to_wire() for message in observation.messages],
        "tools": [tool.to_wire() for tool in observation.tools],
    }


def observation_from_wire(wire: Mapping[str, Any]) -> Observation:
    return Observation(
        tuple(message_from_wire(message) for message in wire["messages"]),
        tuple(ToolSpec.from_wire(tool) for tool in wire["tools"]),
    )


def message_from_wire(wire: Mapping[str, Any]) -> Message:
    """As `Message.from_wire`, but for what was a message before: nothing is checked, nothing dropped."""
    content = wire["content"]
    if isinstance(content, list):
        content = tuple(Part(part) for part in content)
    calls = tuple(map(ToolCall.from_wire, wire["tool_calls"])) if "tool_calls" in wire else ()
    extra = {name: value for name, value in wire.items() if name not in _NAMED}
    return Message(Role(wire["role"]), content, calls, wire.get("tool_call_id"), wire.get("name"), extra)


def reward_to_wire(reward: Reward | None) -> list[Any] | None:
    """`[total, [name, value, weight], …]`."""
    if reward is None:
        return None
    return [float(reward), *([part.name, part.value, part.weight] for part in reward.components)]


def reward_from_wire(wire: list[Any] | None) -> Reward | None:
    return None if wire is None else Reward(wire[0], tuple(Component(*part) for part in wire[1:]))


def failure_to_wire(failure: Failure | None) -> Wire | None:
    return None if failure is None else dataclasses.asdict(failure)


def failure_from_wire(wire: Mapping[str, Any] | None) -> Failure | None:
    return None if wire is None else Failure(**{**wire, "boundary": Boundary(wire["boundary"])})


def tokens_to_wire(tokens: TokenRecord | None) -> Wire | None:
    return None if tokens is None else dataclasses.asdict(tokens)


def tokens_from_wire(wire: Mapping[str, Any] | None) -> TokenRecord | None:
    if wire is None:
        return None
    spans = tuple(VersionSpan(**span) for span in wire["versions"])
    return TokenRecord(tuple(wire["prompt_ids"]), tuple(wire["sampled_ids"]), tuple(wire["logprobs"]), spans)


def _nearest_json(value: object) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    for method in ("item", "tolist"):  # NumPy's and torch's scalars, then their arrays
        try:
            return getattr(value, method)()
        except (AttributeError, ValueError, TypeError, RuntimeError):
            continue
    return repr(value)


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_nearest_json).encode
