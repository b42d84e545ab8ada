"""One session: an environment in the middle of an episode, and the reply it gave last."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from agentenv.env import Action, Env, StepResult
from agentenv.gateway.environments.calls import EnvironmentCalls, Opened, Stepped, Visible
from agentenv.gateway.environments.jsontext import encode
from agentenv.gateway.environments.refusals import Code, Refusal
from agentenv.messages import MalformedMessageError, Message, Role, Wire
from agentenv.outcome import Failure, classify
from agentenv.rewards import Reward
from agentenv.rollout.calls import Call
from agentenv.rollout.codec import failure_to_wire
from agentenv.rollout.lent import LentCall
from agentenv.tools import ToolSpec


class Reply(NamedTuple):
    """What goes over the wire, whichever wire that is. `code` is set when it is an error."""

    text: bytes
    code: Code | None = None


class UnderWay(NamedTuple):
    """A step that is not over yet.

    Attributes:
        reply: what will be said of it.
        lent: the call that the task which asked belongs to now: it must end with `return await lent.rest()`.
    """

    reply: asyncio.Task[Reply]
    lent: LentCall[Stepped] | None = None


Deliver = Callable[[Reply], Awaitable[None]]


class EnvironmentSession:
    """An episode that somebody plays from outside. It takes one step at a time, in order, each once.

    A request id that comes again gets the reply it got before: a client that heard nothing may ask again without
    playing two steps. The step of a client that has gone is played to its end for the same reason.

    Args:
        id: unguessable.
        epoch: of the server; part of every reply.
        calls: how the environment is called.
        opened: the environment after its reset.
        expires_at: when the lease ends, on the server's clock.
    """

    __slots__ = (
        "_answered",
        "_asked",
        "_budget",
        "_call",
        "_calls",
        "_env",
        "_epoch",
        "_recorded",
        "_running",
        "_tools",
        "_waiting",
        "_waits",
        "conversation",
        "ended",
        "expires_at",
        "failure",
        "held",
        "id",
        "terminated",
        "truncated",
        "turn",
    )

    def __init__(self, id: str, epoch: str, calls: EnvironmentCalls, opened: Opened, expires_at: float) -> None:
        self.id = id
        self._epoch = epoch
        self._calls = calls
        self._budget = calls.budget()
        self._env: Env | None = opened.env
        self._tools: tuple[ToolSpec, ...] = opened.observation.tools
        self._asked = ""
        self._answered = ""
        self._recorded = Reply(b"")
        self._running: asyncio.Task[Reply] | None = None
        self._call: Call[Stepped] | None = None
        self._waiting: list[Deliver] = []
        self._waits = False
        self.conversation: list[Message] = list(opened.observation.messages)
        self.turn = 0
        """Steps taken so far; also the number of the next one."""
        self.terminated = False
        self.truncated = False
        self.failure: Failure | None = None
        self.ended: Code | None = None
        self.expires_at = expires_at
        self.held = 0
        """Requests over connections that are known to be alive and that wait for this session now."""

    def step(
        self, request: Mapping[str, Any], deliver: Deliver | None = None, *, lend: bool = False
    ) -> Reply | UnderWay:
        """The reply to a step; or the task that is working on it.

        Args:
            deliver: awaited by that task with the reply, at its end. It must not raise.
            lend: whether the current task may become the step's if that has to wait. A step that need not is then
                over when this returns.

        Raises:
            Refusal: the step cannot be taken; the session is as it was.
        """
        asked, turn = request.get("request_id"), request.get("turn")
        if not isinstance(asked, str) or type(turn) is not int:
            raise Refusal(Code.MALFORMED, "a step needs request_id (a text) and turn (how many steps came before it)")
        if self._running is not None:
            if asked == self._asked:
                self._waiting.extend([deliver] if deliver is not None else [])
                return UnderWay(self._running)
            raise Refusal(Code.BUSY, f"the session is taking step {self.turn} for another request")
        if asked == self._answered:
            if turn != self.turn - 1 and self.failure is None:
                raise Refusal(Code.MALFORMED, f"the request id {asked!r} was used for step {self.turn - 1}")
            return self._recorded
        env = self._playable(turn)
        message = _assistant_message(request.get("message"))
        if not lend or self._waits:  # an environment that had to wait before is given a task at once
            return self._go_on(self._calls.begin_step(env, Action(message), self._budget), asked, message, deliver)
        try:
            begun = self._calls.attempt_step(env, Action(message), self._budget)
            if not isinstance(begun, LentCall):
                return self._accept(asked, message, *begun)
        except Exception as error:
            return self._go_on(error, asked, message, deliver)
        self._waits = True
        return self._go_on(begun, asked, message, deliver)

    def describe(self) -> Wire:
        """Everything said so far, and where the episode stands."""
        return {
            "session": self.id,
            "turn": self.turn,
            "messages": [message.to_wire() for message in self.conversation],
            "tools": [tool.to_wire() for tool in self._tools],
            "terminated": self.terminated,
            "truncated": self.truncated,
            "failure": failure_to_wire(self.failure),
        }

    async def close(self, reason: Code) -> None:
        """Stops what is running and closes the environment; `reason` is what later requests are told."""
        self.ended = self.ended or reason
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
            if self._running is not None and self._call is not None:  # it was cancelled before it began
                self._call.stop()
        await self._close_environment()

    def _playable(self, turn: int) -> Env:
        if self.failure is not None:
            problem = f"the environment failed before: {self.failure.message}"
            raise Refusal(Code.SESSION_FAILED, problem, self.failure)
        if self.terminated or self.truncated:
            raise Refusal(Code.SESSION_OVER, f"the episode ended with step {self.turn - 1}; create a new session")
        if self._env is None or self.ended is not None:
            raise Refusal(self.ended or Code.SESSION_CLOSED, "the session is being closed")
        if turn != self.turn:
            problem = f"step {turn} was asked for, and the next one is {self.turn}: somebody else plays this session"
            raise Refusal(Code.WRONG_TURN, problem)
        return self._env

    def _go_on(
        self, begun: Call[Stepped] | Exception, asked: str, message: Message, deliver: Deliver | None
    ) -> UnderWay:
        """Sees to a step that is not over, or has failed and is to be cleared away."""
        self._asked, self._waiting = asked, [deliver] if deliver is not None else []
        self._call = begun if isinstance(begun, Call) else None
        # A task of its own: whoever asked may go away in the meantime and come back for the reply.
        self._running = asyncio.get_running_loop().create_task(self._finish(begun, asked, message))
        return UnderWay(self._running, begun if isinstance(begun, LentCall) else None)

    async def _finish(self, begun: Call[Stepped] | Exception, asked: str, message: Message) -> Reply:
        try:
            if isinstance(begun, Exception):
                raise begun
            reply = self._accept(asked, message, *await self._calls.finish_step(begun))
        except Exception as error:
            reply = await self._fail(asked, classify(error, f"{self._calls.spec.id}.step"))
        except asyncio.CancelledError:
            if self.ended is None:
                raise
            refusal = Refusal(self.ended, "the session was closed while it took this step")
            reply = error_reply(refusal, asked, self._epoch, self.id)
        finally:
            self._running = self._call = None
        self._answered, self._recorded = asked, reply
        waiting, self._waiting = self._waiting, []
        for deliver in waiting:
            await deliver(reply)
        return reply

    def _accept(self, asked: str, message: Message, result: StepResult, visible: Visible) -> Reply:
        """Records a step that was taken."""
        reply = Reply(encode(self._step_reply(asked, result, visible)))
        self.turn += 1
        self.terminated, self.truncated = result.terminated, result.truncated
        self._tools = result.observation.tools
        self.conversation.append(message)
        self.conversation.extend(result.observation.messages)
        self._answered, self._recorded = asked, reply
        return reply

    async def _fail(self, asked: str, failure: Failure) -> Reply:
        self.failure = failure
        await self._close_environment()
        return error_reply(Refusal.of(failure), asked, self._epoch, self.id)

    async def _close_environment(self) -> None:
        env, self._env = self._env, None
        if env is not None:
            await self._calls.close(env)

    def _step_reply(self, asked: str, result: StepResult, visible: Visible) -> Wire:
        tools = result.observation.tools
        same = tools is self._tools or tools == self._tools
        return {
            "request_id": asked,
            "epoch": self._epoch,
            "session": self.id,
            "turn": self.turn,
            "messages": [message.to_wire() for message in result.observation.messages],
            "tools": None if same else [tool.to_wire() for tool in tools],
            **reward_to_wire(result.reward),
            "terminated": result.terminated,
            "truncated": result.truncated,
            "info": dict(result.info),
            "state_key": visible.state_key,
            "oracle": None if visible.oracle is None else visible.oracle.to_wire(),
        }


def reward_to_wire(reward: float | None) -> Wire:
    """`reward` and its `components`; both null when the step was not scored."""
    if not isinstance(reward, Reward):
        return {"reward": reward, "components": None}
    parts = [{"name": part.name, "value": part.value, "weight": part.weight} for part in reward.components]
    return {"reward": float(reward), "components": parts}


def error_reply(refusal: Refusal, asked: object, epoch: str, session: str | None = None) -> Reply:
    """A refusal as it goes over the wire."""
    error = {"code": refusal.code.value, "message": str(refusal), "failure": failure_to_wire(refusal.failure)}
    body = {"request_id": asked if isinstance(asked, str) else None, "epoch": epoch, "session": session, "error": error}
    return Reply(encode(body), refusal.code)


def _assistant_message(wire: object) -> Message:
    if not isinstance(wire, Mapping):
        raise Refusal(Code.MALFORMED, "a step needs message: one assistant message in OpenAI's chat format")
    try:
        message = Message.from_wire(wire)
    except MalformedMessageError as error:
        raise Refusal(Code.MALFORMED, str(error)) from error
    if message.role is not Role.ASSISTANT:
        raise Refusal(Code.MALFORMED, f"a step takes the assistant's message, not one of {message.role.value!r}")
    return message
