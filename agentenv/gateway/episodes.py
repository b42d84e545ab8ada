"""A session as an episode: what the journal keeps of it and everything downstream reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentenv.env import Action, Observation
from agentenv.episode import Episode, Turn, Usage
from agentenv.gateway.calls import CallStatus
from agentenv.gateway.sessions import Call, Session
from agentenv.messages import MalformedMessageError, Message, Role, Wire
from agentenv.outcome import Boundary, Failure, Status, StopReason
from agentenv.rewards import Reward
from agentenv.tools import ToolSpec

DELIVERED = (CallStatus.OK, CallStatus.BAD_TOKENS)
"""The calls whose answer the agent has: these are the turns."""
_FAILED = (CallStatus.UPSTREAM_ERROR, CallStatus.UPSTREAM_TIMEOUT, CallStatus.ABORTED)
_TOO_LONG = ("context_length", "context length", "context window", "maximum model length", "max_model_len", "too long")
_STOP_OF = {
    Status.OK: StopReason.TERMINATED,
    Status.TRUNCATED: StopReason.ENVIRONMENT_TRUNCATED,
    Status.TIMEOUT: StopReason.EPISODE_TIMEOUT,
    Status.CANCELLED: StopReason.CANCELLED,
}
_BOUNDARY_OF = {
    Status.TIMEOUT: Boundary.TIMEOUT,
    Status.ENV_ERROR: Boundary.ENVIRONMENT,
    Status.MODEL_ERROR: Boundary.MODEL,
    Status.SANDBOX_ERROR: Boundary.SANDBOX,
    Status.VERIFIER_ERROR: Boundary.VERIFIER,
}


@dataclass(frozen=True, slots=True)
class Ending:
    """How a session ended."""

    status: Status
    stop_reason: StopReason
    failure: Failure | None = None


def ending_of(session: Session, status: Status, stop_reason: StopReason | None = None, problem: str = "") -> Ending:
    """The truthful ending of a session that its owner ended as `status`.

    A session that its owner calls finished is a `model_error` when a call failed upstream and was not repeated with
    success, `truncated` when its last call no longer fitted the model's context, and an `env_error` when the agent
    never had an answer at all.
    """
    where = f"session {session.id}"
    if status.scored:
        failed = failed_call(session)
        if failed is not None:
            kind = (failed.status or CallStatus.OK).value
            return Ending(Status.MODEL_ERROR, StopReason.FAILURE, Failure(Boundary.MODEL, kind, failed.error, where))
        if not any(call.status in DELIVERED for call in session.calls):
            nothing = Failure(Boundary.ENVIRONMENT, "NoCalls", "the agent had no answer from the model", where)
            return Ending(Status.ENV_ERROR, StopReason.FAILURE, nothing)
        if session.calls[-1].status is CallStatus.REFUSED and _says_too_long(session.calls[-1].error):
            return Ending(Status.TRUNCATED, StopReason.CONTEXT_LENGTH)
    boundary = _BOUNDARY_OF.get(status)
    failure = None if boundary is None else Failure(boundary, status.value, problem or status.value, where)
    return Ending(status, stop_reason or _STOP_OF.get(status, StopReason.FAILURE), failure)


def failed_call(session: Session) -> Call | None:
    """The first call that failed upstream and was not made good by a later one with the same messages."""
    made_good: set[int] = set()
    found = None
    for call in reversed(session.calls):
        if call.status in DELIVERED:
            made_good.add(call.conversation)
        elif call.status in _FAILED and call.conversation not in made_good:
            found = call
    return found


def _says_too_long(words: str) -> bool:
    lowered = words.lower()
    return any(phrase in lowered for phrase in _TOO_LONG)


def episode_of(session: Session, ending: Ending, policy: str, seconds: float) -> Episode:
    """The episode of a session: a turn per delivered answer, in the order in which the calls arrived.

    A turn's observation holds the messages that are new against the call it continues (`info["call"]["parent"]`), and
    the whole opening where it continues none. Rewards are those given to the calls; once any was given, the other
    turns count as intermediate steps with a plain 0. Without any, or when the session failed, nothing is scored.
    """
    calls = [call for call in session.calls if call.status in DELIVERED and call.answer is not None]
    turn_of = {call.index: position for position, call in enumerate(calls)}
    last = len(calls) - 1
    rewards = rewards_of(session, calls) if ending.status.scored else [None] * len(calls)
    turns = tuple(
        Turn(
            index=position,
            observation=Observation(
                tuple(message_of(message) for message in session.new_messages(call)),
                _tools(session.tools_of(call)),
            ),
            action=_action(session, call),
            finish_reason=call.finish_reason,
            usage=call.usage or Usage(),
            reward=rewards[position],
            terminated=position == last and ending.status is Status.OK,
            truncated=position == last and ending.status is Status.TRUNCATED,
            info=_info(session, call, turn_of, first=position == 0),
            model_seconds=call.seconds,
        )
        for position, call in enumerate(calls)
    )
    return Episode(
        id=session.episode_id,
        key=session.key,
        task=session.task,
        seed=session.seed,
        policy=policy,
        attempt=1,
        status=ending.status,
        stop_reason=ending.stop_reason,
        turns=turns,
        failure=ending.failure,
        started_at=session.created_at,
        seconds=seconds,
    )


def rewards_of(session: Session, calls: Sequence[Call]) -> list[Reward | None]:
    """The reward of each delivered call. What was given to one that failed counts for the last before it."""
    if not session.rewards:
        return [None] * len(calls)
    given: dict[int, list[Any]] = {call.index: [] for call in calls}
    for index, components in sorted(session.rewards.items()):
        at = max((known for known in given if known <= index), default=min(given, default=None))
        if at is not None:
            given[at] += components
    return [Reward.of(*given[call.index]) for call in calls]


def _action(session: Session, call: Call) -> Action:
    tokens = call.tokens
    answer = session.messages.message(call.answer if call.answer is not None else call.conversation)
    return Action(message_of(answer), None if tokens is None else tokens.unpacked())


def _info(session: Session, call: Call, turn_of: Mapping[int, int], *, first: bool) -> Mapping[str, Any]:
    about: Wire = {
        "index": call.index,
        "protocol": call.protocol.value,
        "continuation": call.continuation.value,
        "parent": None if call.parent is None else turn_of.get(call.parent),
        "model": call.model,
        "replica": call.replica,
    }
    if call.fork_reason is not None:
        about["fork_reason"] = call.fork_reason.value
    if call.error:
        about["problem"] = call.error
    return {"call": about, "session": {"id": session.id, **session.metadata}} if first else {"call": about}


def message_of(wire: Wire) -> Message:
    """A message agentenv knows. One in a role of its own keeps that under `wire_role`; nothing is ever dropped."""
    try:
        return Message.from_wire(wire)
    except MalformedMessageError:
        content = wire.get("content")
        text = content if isinstance(content, str) else json.dumps(wire, ensure_ascii=False)
        role = Role.TOOL if wire.get("role") == "function" else Role.USER
        return Message(role, text, extra={"wire_role": str(wire.get("role"))})


def _tools(wires: Sequence[Wire]) -> tuple[ToolSpec, ...]:
    found = []
    for wire in wires:
        try:
            found.append(ToolSpec.from_wire(wire))
        except (KeyError, TypeError):  # a tool of another kind than a function; no message refers to it by name
            continue
    return tuple(found)
