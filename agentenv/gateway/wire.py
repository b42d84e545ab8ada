"""The session routes' JSON: bodies read and checked, sessions and calls shown. The typed client reads the same."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentenv.episode import Episode, EpisodeKey, Usage
from agentenv.gateway.calls import CallStatus, Continuation, ForkReason, ModelCallRecord, Protocol
from agentenv.gateway.failures import ApiError
from agentenv.gateway.sessions import Session
from agentenv.gateway.table import ENVIRONMENT, Ended
from agentenv.messages import MalformedMessageError, Wire
from agentenv.outcome import Status, StopReason
from agentenv.rewards import Component
from agentenv.rollout import codec
from agentenv.tasks import Task
from agentenv.trajectory import build_rows


@dataclass(frozen=True, slots=True)
class NewSession:
    """What `POST /sessions` asks for."""

    id: str | None
    task: Task | None
    key: EpisodeKey | None
    seed: int
    metadata: Mapping[str, Any]

    @classmethod
    def read(cls, body: Wire) -> NewSession:
        """Raises `ApiError` 400 naming the field."""
        _only(body, {"id", "task", "environment", "group", "sibling", "iteration", "seed", "metadata"})
        id = _typed(body, "id", str)
        task = None if body.get("task") is None else _task(body["task"])
        metadata = _typed(body, "metadata", dict) or {}
        key = None
        named = {name for name in ("environment", "group", "sibling", "iteration") if body.get(name) is not None}
        if task is not None or named:
            task_id = task.id if task is not None else id
            if task_id is None:
                raise ApiError(400, "a session with a group, sibling or iteration needs a task or an id", param="task")
            key = EpisodeKey(
                environment=_typed(body, "environment", str) or ENVIRONMENT,
                task_id=task_id,
                group=_typed(body, "group", str) or task_id,
                sibling=_natural(body, "sibling", -1),
                iteration=_natural(body, "iteration", 0),
            )
        return cls(id, task, key, _natural(body, "seed", 0), metadata)


@dataclass(frozen=True, slots=True)
class Finish:
    """What `POST /sessions/{id}/finish` says: how it ended, and perhaps the episode's reward."""

    status: Status
    stop_reason: StopReason | None
    problem: str
    components: Sequence[Component]

    @classmethod
    def read(cls, body: Wire) -> Finish:
        _only(body, {"status", "stop_reason", "problem", "reward", "components"})
        try:
            status = Status(body.get("status") or Status.OK)
            stop = None if body.get("stop_reason") is None else StopReason(body["stop_reason"])
        except ValueError as error:
            raise ApiError(400, f"{error}; statuses are {', '.join(Status)}", param="status") from None
        given = body.get("reward") is not None or body.get("components") is not None
        return cls(status, stop, _typed(body, "problem", str) or "", read_components(body) if given else ())


def read_components(body: Wire) -> Sequence[Component]:
    """The components of a reward: `{"reward": 0.5}`, `{"components": {"correct": 1}}`, or with weights
    `{"components": [{"name": "correct", "value": 1, "weight": 0.5}]}`.

    Raises:
        ApiError: 400 for anything else, NaN and infinities included.
    """
    components = body.get("components")
    if components is None:
        return (Component("reward", _number(body.get("reward"), "reward")),)
    if body.get("reward") is not None:
        raise ApiError(400, "give a reward or its components, not both: the total is derived", param="reward")
    if isinstance(components, dict):
        components = [{"name": name, "value": value} for name, value in components.items()]
    if not isinstance(components, list) or not components:
        raise ApiError(400, "components must be a list of {name, value, weight} or an object", param="components")
    found = []
    for part in components:
        if not isinstance(part, dict) or not isinstance(part.get("name"), str):
            raise ApiError(400, "a component needs a name and a value", param="components")
        _only(part, {"name", "value", "weight"})
        weight = _number(part.get("weight", 1.0), "components.weight")
        found.append(Component(part["name"], _number(part.get("value"), "components.value"), weight))
    return found


def session_to_wire(found: Session | Ended, url: str) -> Wire:
    """A session in short. `status` is `open`, or that of its episode."""
    session = found if isinstance(found, Session) else found.session
    shown: Wire = {
        "id": session.id,
        "base_url": f"{url}/sessions/{session.header}/v1",
        "status": "open",
        "task": session.task.id,
        "group": session.key.group,
        "sibling": session.key.sibling,
        "iteration": session.key.iteration,
        "environment": session.key.environment,
        "metadata": dict(session.metadata),
        "created_at": session.created_at,
        "calls": len(session.calls),
        "in_flight": len(session.tasks),
    }
    if isinstance(found, Ended):
        ending = found.ending
        shown |= {
            "status": ending.status.value,
            "stop_reason": ending.stop_reason.value,
            "failure": codec.failure_to_wire(ending.failure),
            "seconds": found.seconds,
            "problem": found.problem,
        }
    return shown


def drift_to_wire(session: Session) -> Wire:
    """How the session's prompts followed from one another."""
    reasons = Counter(call.fork_reason.value for call in session.calls if call.fork_reason is not None)
    return {
        "continuations": dict(Counter(call.continuation.value for call in session.calls)),
        "fork_reasons": dict(reasons),
    }


def call_to_wire(record: ModelCallRecord) -> Wire:
    """A call as JSON."""
    return {
        "id": record.id,
        "index": record.index,
        "protocol": record.protocol.value,
        "messages": list(record.messages),
        "tools": list(record.tools),
        "sampling": dict(record.sampling),
        "status": record.status.value,
        "answer": record.answer,
        "finish_reason": record.finish_reason,
        "usage": [record.usage.prompt_tokens, record.usage.completion_tokens],
        "tokens": codec.tokens_to_wire(record.tokens),
        "model": record.model,
        "continuation": record.continuation.value,
        "fork_reason": None if record.fork_reason is None else record.fork_reason.value,
        "replica": record.replica,
        "error": record.error,
        "started_at": record.started_at,
        "seconds": record.seconds,
    }


def call_from_wire(session: str, wire: Wire) -> ModelCallRecord:
    """The inverse of `call_to_wire`."""
    named = {
        **wire,
        "session": session,
        "protocol": Protocol(wire["protocol"]),
        "status": CallStatus(wire["status"]),
        "usage": Usage(*wire["usage"]),
        "tokens": codec.tokens_from_wire(wire["tokens"]),
        "continuation": Continuation(wire["continuation"]),
        "fork_reason": None if wire["fork_reason"] is None else ForkReason(wire["fork_reason"]),
    }
    return ModelCallRecord(**named)


def _task(wire: Any) -> Task:
    if isinstance(wire, str):
        return Task(wire)
    if not isinstance(wire, dict) or not isinstance(wire.get("id"), str):
        raise ApiError(400, "a task is its id, or an object with an id", param="task")
    _only(wire, {"id", "prompt", "answer", "data", "split"})
    filled = {"prompt": [], "answer": None, "data": {}, "split": "train", **wire}
    try:
        return codec.task_from_wire(filled)
    except (KeyError, TypeError, ValueError, AttributeError, MalformedMessageError) as error:
        raise ApiError(400, f"the task cannot be read ({type(error).__name__}: {error})", param="task") from None


def _only(body: Wire, known: set[str]) -> None:
    unknown = sorted(body.keys() - known)
    if unknown:
        raise ApiError(400, f"{unknown[0]} is not known here; known are {', '.join(sorted(known))}", param=unknown[0])


def _typed(body: Wire, name: str, kind: type) -> Any:
    value = body.get(name)
    if value is not None and not isinstance(value, kind):
        raise ApiError(400, f"{name} must be of type {kind.__name__}", param=name)
    return value


def _natural(body: Wire, name: str, default: int) -> int:
    value = body.get(name)
    if value is None:
        return default
    if type(value) is not int or not 0 <= value < 2**63:
        raise ApiError(400, f"{name} must be a whole number of at least 0", param=name)
    return value


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return float(value)
    raise ApiError(400, f"{name} must be a finite number, got {value!r:.80}", param=name)


def rows_to_wire(episode: Episode) -> Wire:
    """The training rows of an episode, and what is in none of them."""
    found = build_rows([episode])
    rows = [
        {
            "ids": row.ids.tolist(),
            "mask": row.mask.tolist(),
            "logprobs": row.logprobs.tolist(),
            "versions": row.versions.tolist(),
            "turns": row.turns.tolist(),
            "weight": row.weight,
        }
        for row in found.rows
    ]
    excluded = [{"turn": one.turn, "reason": one.reason.value, "tokens": one.tokens} for one in found.excluded]
    return {"rows": rows, "excluded": excluded}
