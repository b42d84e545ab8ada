"""A client that has died leaves nothing behind; one that is only quiet, and says so, loses nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from agentenv.gateway.environments.calls import EnvironmentCalls
from agentenv.gateway.environments.config import ServerConfig
from agentenv.gateway.environments.operations import Operation, Operations
from agentenv.gateway.environments.sessions import Sessions
from agentenv.gateway.environments.tasks import TaskSource
from agentenv.messages import Wire
from agentenv.rollout.limits import Limits
from tests.environment_server.actors import Turns, Waiting, spec
from tests.environment_server.serving import calling, serving, until


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time


class Stage:
    """The sessions of a server without its wires, on a clock of the test's."""

    def __init__(self, name: str = "Turns", lease: float = 60.0) -> None:
        config = ServerConfig(lease=lease)
        self.clock = Clock()
        self.limits = Limits(config.stall_threshold, config.cancel_grace)
        calls = EnvironmentCalls(spec(name), config, self.limits)
        tasks = TaskSource(spec(name).make(), answers=False)
        self.sessions = Sessions(calls, tasks, config, self.clock.now)
        self.operations = Operations(self.sessions, tasks, dict)

    async def ask(self, operation: Operation, **fields: object) -> Wire:
        reply: Wire = json.loads((await self.operations.perform(operation, dict(fields))).text)
        return reply

    async def create(self) -> str:
        session: str = (await self.ask(Operation.CREATE))["session"]
        return session


async def test_a_session_is_closed_when_its_lease_is_over_and_says_so_afterwards() -> None:
    stage = Stage()
    with stage.limits.clock:
        session = await stage.create()
        closed = Turns.closed
        stage.clock.time = 59.9
        assert await stage.sessions.reap() == 0
        stage.clock.time = 60.0
        assert await stage.sessions.reap() == 1
        assert Turns.closed == closed + 1
        gone = await stage.ask(Operation.VIEW, session=session)
        assert gone["error"]["code"] == "lease_expired"
        assert stage.sessions.occupied == 0


async def test_every_request_and_every_heartbeat_begins_the_lease_anew() -> None:
    stage = Stage()
    with stage.limits.clock:
        used, beaten, silent = [await stage.create() for _ in range(3)]
        stage.clock.time = 50.0
        await stage.ask(Operation.VIEW, session=used)
        alive = await stage.ask(Operation.HEARTBEAT, sessions=[beaten, "nobody", 7])
        assert alive["sessions"] == [beaten]
        stage.clock.time = 70.0
        assert await stage.sessions.reap() == 1
        assert (await stage.ask(Operation.VIEW, session=silent))["error"]["code"] == "lease_expired"
        assert "error" not in await stage.ask(Operation.VIEW, session=used)
        assert "error" not in await stage.ask(Operation.VIEW, session=beaten)


async def test_a_client_that_died_in_the_middle_of_a_step_leaves_nothing_behind() -> None:
    Waiting.prepare()
    stage = Stage("Waiting")
    with stage.limits.clock:
        session = await stage.create()
        message = {"role": "assistant", "content": "hello"}
        asked = {"session": session, "epoch": stage.sessions.epoch, "turn": 0, "message": message}
        step = asyncio.create_task(stage.ask(Operation.STEP, request_id="the last", **asked))
        await Waiting.began.wait()
        stage.clock.time = 61.0
        assert await stage.sessions.reap() == 1
        assert (await step)["error"]["code"] == "lease_expired"
        assert (Waiting.stopped, Waiting.closed) == (1, 1)


async def test_a_step_longer_than_the_lease_is_no_death_while_its_caller_waits_on_the_line() -> None:
    Waiting.prepare()
    async with serving(spec("Waiting"), lease=0.2) as server, calling(server.url) as caller:
        session = await caller.create()
        step = asyncio.create_task(caller.step(session, 0))
        await Waiting.began.wait()
        for found in server.sessions:
            found.expires_at = 0.0
        assert await server.sessions.reap() == 0
        Waiting.go.set()
        assert (await step).code is None


async def test_a_caller_that_hangs_up_during_a_step_no_longer_holds_its_session() -> None:
    Waiting.prepare()
    async with serving(spec("Waiting"), lease=30.0) as server:
        async with calling(server.url) as caller:
            session = await caller.create()
            step = asyncio.create_task(caller.step(session, 0))
            await Waiting.began.wait()
            step.cancel()
        (found,) = server.sessions
        await until(lambda: found.held == 0)
        found.expires_at = 0.0
        assert await server.sessions.reap() == 1
        assert Waiting.closed == 1


async def test_the_server_looks_after_the_leases_by_itself(tmp_path: Path) -> None:
    async with serving(spec("Marked", kwargs={"folder": str(tmp_path)}), lease=0.2) as server:
        async with calling(server.url, "socket") as caller:
            await caller.create()
        await until(lambda: not list(tmp_path.glob("open-*")))
        assert server.sessions.occupied == 0
