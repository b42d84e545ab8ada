"""More than a service can run waits; more than may wait is sent away at once; what was accepted is finished."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from agentenv.sandbox import Cause, ExecResult, Sandbox, SandboxFailed
from agentenv.sandbox.service import SandboxService
from agentenv.sandbox.service.refusals import AtCapacity
from agentenv.sandbox.service.turnstile import Turnstile
from agentenv_remote import RemoteSandboxes
from tests.sandbox_service.asking import ask, opened, serving, until

WAITS = "while ! [ -e go ]; do sleep 0.02; done; echo went"


@pytest_asyncio.fixture
async def service() -> AsyncIterator[SandboxService]:
    async with serving(max_running=2, max_queued=2) as running:
        yield running


async def filled(service: SandboxService, sandbox: Sandbox) -> list[asyncio.Task[ExecResult]]:
    """As many executions as may run and wait; each ends when there is a file `go`."""
    tasks = [asyncio.create_task(sandbox.exec(WAITS)) for _ in range(4)]
    await until(lambda: (view := service.state.view()).running == 2 and view.queued == 2)
    return tasks


async def test_one_too_many_is_refused_at_once_and_all_others_are_finished(
    service: SandboxService, sandbox: Sandbox
) -> None:
    tasks = await filled(service, sandbox)
    other = await opened(service)
    async with asyncio.timeout(2):
        refused = await ask(service, "POST", f"{other}/exec", {"command": "true"})
    assert (refused.status, refused.code) == (429, "at_capacity")
    error = refused.json["error"]
    assert (error["running"], error["queued"]) == (2, 2)
    assert int(refused.headers["Retry-After"]) == error["retry_after"] >= 1
    assert (await ask(service, "POST", "/run_code", {"code": "1", "language": "python"})).status == 429
    await sandbox.write("go", b"")
    assert [(await task).stdout.text for task in tasks] == ["went\n"] * 4
    assert (await ask(service, "POST", f"{other}/exec", {"command": "true"})).json["cause"] == "ok"


async def test_a_patient_client_comes_again_when_it_was_told_to(service: SandboxService, sandbox: Sandbox) -> None:
    tasks = await filled(service, sandbox)
    late = asyncio.create_task(sandbox.exec("echo late"))
    await until(lambda: "refused_total 1\n" in service.state.metrics_page())
    await sandbox.write("go", b"")
    assert (await late).stdout.text == "late\n"
    await asyncio.gather(*tasks)


async def test_an_impatient_one_is_told_that_there_is_no_room(service: SandboxService, sandbox: Sandbox) -> None:
    tasks = await filled(service, sandbox)
    async with RemoteSandboxes(service.url, patience=0) as impatient, impatient.sandbox() as other:
        with pytest.raises(SandboxFailed, match="no room: 2 executions run and 2 wait") as failure:
            await other.exec("true")
        assert failure.value.result is not None
        assert failure.value.result.cause is Cause.INFRA
    await sandbox.write("go", b"")
    await asyncio.gather(*tasks)


async def test_who_goes_away_leaves_the_queue(service: SandboxService, sandbox: Sandbox) -> None:
    tasks = await filled(service, sandbox)
    tasks.pop().cancel()
    await until(lambda: service.state.view().queued == 1)
    await sandbox.write("go", b"")
    assert [(await task).cause for task in tasks] == [Cause.OK] * 3
    assert service.state.view().running == 0


async def test_sandboxes_are_bounded_too() -> None:
    async with serving(max_sandboxes=1) as service:
        path = await opened(service)
        assert (await ask(service, "POST", "/sandboxes")).status == 429
        assert (await ask(service, "POST", f"{path}/fork")).status == 429
        assert (await ask(service, "POST", "/run_code", {"code": "1", "language": "python"})).status == 429
        await ask(service, "DELETE", path)
        assert (await ask(service, "POST", "/sandboxes")).status == 201


async def test_a_hundred_at_once_are_all_run_two_at_a_time() -> None:
    async with (
        serving(max_running=2, max_queued=100) as service,
        RemoteSandboxes(service.url) as sandboxes,
        sandboxes.sandbox() as sandbox,
    ):
        results = await asyncio.gather(*(sandbox.run_python(f"print({n})") for n in range(100)))
        assert [result.stdout.text for result in results] == [f"{n}\n" for n in range(100)]


async def test_a_turn_comes_to_the_first_and_nobody_waits_for_ever() -> None:
    turnstile = Turnstile(1, 2, patience=0.05)
    served = []

    async def one(name: str, until: asyncio.Event) -> None:
        async with turnstile.turn():
            served.append(name)
            await until.wait()

    first, second = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(one("first", first))
        await asyncio.sleep(0)
        group.create_task(one("second", second))
        await asyncio.sleep(0)
        first.set()
        await asyncio.sleep(0)
        with pytest.raises(AtCapacity, match=r"turn in 0\.05 s"):
            await one("third", first)
        second.set()
    assert served == ["first", "second"]
    assert (turnstile.running, turnstile.queued) == (0, 0)


async def test_who_is_cancelled_as_its_turn_comes_passes_it_on() -> None:
    turnstile = Turnstile(1, 2, patience=10)

    async def one() -> str:
        async with turnstile.turn():
            return "served"

    async with turnstile.turn():
        cancelled, other = asyncio.create_task(one()), asyncio.create_task(one())
        await asyncio.sleep(0)
    cancelled.cancel()
    assert await other == "served"
    assert cancelled.cancelled()
    assert (turnstile.running, turnstile.queued) == (0, 0)


async def test_who_gives_up_as_another_leaves_is_passed_over() -> None:
    turnstile, leave = Turnstile(1, 2, patience=10), asyncio.Event()

    async def one(until: asyncio.Event | None = None) -> str:
        async with turnstile.turn():
            if until is not None:
                await until.wait()
            return "served"

    first = asyncio.create_task(one(leave))
    await asyncio.sleep(0)
    gone, other = asyncio.create_task(one()), asyncio.create_task(one())
    await asyncio.sleep(0)
    leave.set()
    gone.cancel()
    assert await asyncio.gather(first, other) == ["served", "served"]
    assert gone.cancelled()
    assert (turnstile.running, turnstile.queued) == (0, 0)
