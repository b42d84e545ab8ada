"""`RemoteEnv`: an environment that runs in an environment server, used like one that runs here.

env = RemoteEnv("http://127.0.0.1:8100")          # or agentenv.make("http://127.0.0.1:8100")
observation, info = await env.reset(seed=7)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from agentenv.env import Action, Env, Info, Observation, StepResult
from agentenv.errors import AgentenvError, EnvironmentFailure, UnsupportedError
from agentenv.gateway.environments.client_errors import ServerFull, ServerUnreachable, SessionLost
from agentenv.gateway.environments.connection import KEY_VARIABLE, Connection, acquire, release
from agentenv.gateway.environments.remote_tasks import RemoteTasks, checked_url, task_of
from agentenv.gateway.environments.wire import REFERENCE
from agentenv.messages import Message, Wire
from agentenv.rewards import Component, Reward
from agentenv.rollout.codec import message_from_wire, task_to_wire
from agentenv.tasks import Task, TaskSet
from agentenv.tools import ToolSpec

__all__ = ["RemoteEnv", "ServerFull", "ServerUnreachable", "SessionLost"]


class RemoteEnv(Env):
    """One session at an environment server.

    All instances of an event loop share one connection per server. Where it breaks it is made again and the step that
    was under way is asked for again, which the server does not play twice. A server that was restarted, a lease that
    ran out, or somebody else's step in this session raise `SessionLost`: no other episode is passed off as this one.

    Seeds are honoured or refused by the server. Where the environment promises no determinism (`spec.deterministic`
    is false) none is sent, so a rollout can be played, and repeats as little as it would here.

    Args:
        url: of the server.
        fingerprint: of the environment it is expected to serve; another one is an error.
        api_key: by default the environment variable `AGENTENV_ENVIRONMENT_KEY`.

    Raises:
        SessionLost, ServerUnreachable, ServerFull: from `reset` and `step`; all are `SandboxError`, which the rollout
            engine retries.
        BoundaryError: the environment failed there; blamed on the same boundary as if it had failed here.
    """

    def __init__(self, url: str, *, fingerprint: str | None = None, api_key: str | None = None) -> None:
        self._url = checked_url(url)
        self._fingerprint = fingerprint
        self._key = api_key if api_key is not None else os.environ.get(KEY_VARIABLE)
        self._connection: Connection | None = None
        self._session: str | None = None
        self._epoch = ""
        self._turn = 0
        self._tools: tuple[ToolSpec, ...] = ()
        self._state: str | None = None
        self._oracle: Wire | None = None
        self._answers = False

    async def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        await self._leave()
        if self._connection is None:
            self._connection = acquire(self._url, self._key)
        connection = self._connection
        server = await connection.server()
        self._check(server)
        wanted: Wire = {"op": "create"}
        if task is not None:
            reference = task.data.get(REFERENCE)
            wanted["task"] = reference if reference is not None else {"row": task_to_wire(task)}
        if seed is not None and server["seedable"]:
            wanted["seed"] = seed
        reply = await connection.request(wanted)
        self._session, self._epoch, self._turn = reply["session"], reply["epoch"], 0
        connection.sessions.add(reply["session"])
        if reply["epoch"] != server["epoch"]:  # it was restarted in the meantime, perhaps as something else
            self._check(await connection.server())
        played = reply["seed"] if reply["seed"] is not None else seed
        self.begin(task if task is not None else task_of(reply["task"]), played)
        self._tools = _tools(reply["tools"])
        self._look(reply)
        return Observation(_messages(reply["messages"]), self._tools), reply["info"]

    async def step(self, action: Action) -> StepResult:
        connection, session = self._connection, self._session
        if connection is None or session is None:
            raise EnvironmentFailure("reset the environment before its first step")
        wanted = {
            "op": "step",
            "session": session,
            "epoch": self._epoch,
            "turn": self._turn,
            "message": action.message.to_wire(),
        }
        reply = await connection.request(wanted, self._epoch)
        if (reply["epoch"], reply["session"], reply["turn"]) != (self._epoch, session, self._turn):
            raise SessionLost(f"{self._url} answered for another session or step than it was asked for")
        self._turn += 1
        if reply["tools"] is not None:
            self._tools = _tools(reply["tools"])
        self._look(reply)
        observation = Observation(_messages(reply["messages"]), self._tools)
        return StepResult(observation, _reward(reply), reply["terminated"], reply["truncated"], reply["info"])

    async def close(self) -> None:
        """Closes the session there. Where the server cannot be reached, the lease will do it."""
        await self._leave()
        connection, self._connection = self._connection, None
        if connection is not None:
            await release(connection, self._key)

    def tasks(self, split: str = "train") -> TaskSet:
        """The server's tasks. Reading them blocks for as long as the server takes to answer."""
        return RemoteTasks(self._url, split, api_key=self._key)

    def oracle(self) -> Message:
        if self._oracle is None:
            reason = "has none here" if self._answers else "keeps it to itself: start it with --answers"
            raise UnsupportedError(f"the environment at {self._url} has an oracle for nobody: it {reason}")
        return message_from_wire(self._oracle)

    def state_key(self) -> str | None:
        return self._state

    def _check(self, server: Mapping[str, Any]) -> None:
        self._answers = server["answers"]
        if self._fingerprint not in (None, server["fingerprint"]):
            raise EnvironmentFailure(f"{self._url} no longer serves the environment this one was made for")

    def _look(self, reply: Wire) -> None:
        self._state, self._oracle = reply["state_key"], reply["oracle"]

    async def _leave(self) -> None:
        session, self._session = self._session, None
        connection = self._connection
        if session is None or connection is None:
            return
        connection.sessions.discard(session)
        if not connection.connected:
            return
        try:
            await connection.request({"op": "close", "session": session}, self._epoch)
        except AgentenvError:
            return


def _messages(wire: list[Wire]) -> tuple[Message, ...]:
    return tuple(map(message_from_wire, wire))


def _tools(wire: list[Wire]) -> tuple[ToolSpec, ...]:
    return tuple(map(ToolSpec.from_wire, wire))


def _reward(reply: dict[str, Any]) -> Reward | None:
    if reply["reward"] is None:
        return None
    parts = reply["components"] or ()
    return Reward(reply["reward"], tuple(Component(part["name"], part["value"], part["weight"]) for part in parts))
