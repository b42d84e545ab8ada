from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from agentenv_openai import AdaptiveLimiter, OpenAIPolicy
from tests.policy.openai_support import Clock, ask, completion_body, endpoint


class Request:
    """One admitted or waiting request whose end the test decides."""

    def __init__(self, limiter: AdaptiveLimiter, ticket: int | None = None) -> None:
        self._limiter = limiter
        self._ticket = limiter.ticket() if ticket is None else ticket
        self._verdict: asyncio.Future[bool | None] = asyncio.get_running_loop().create_future()
        self.admitted = False
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async with self._limiter.permit(self._ticket) as permit:
            self.admitted = True
            succeeded = await self._verdict
            if succeeded:
                permit.succeeded()
            elif succeeded is False:
                permit.rejected()

    async def end(self, succeeded: bool | None) -> None:
        self._verdict.set_result(succeeded)
        await self.task
        await settle()


async def settle() -> None:
    """Lets everything that can run, run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def start(limiter: AdaptiveLimiter, count: int) -> list[Request]:
    requests = [Request(limiter) for _ in range(count)]
    await settle()
    return requests


async def test_there_is_no_limit_until_the_first_rejection() -> None:
    limiter = AdaptiveLimiter()
    requests = await start(limiter, 500)
    assert all(request.admitted for request in requests)
    assert limiter.limit is None
    await requests[0].end(False)
    assert limiter.limit == 250
    for request in requests[1:]:
        await request.end(None)


async def test_a_wave_of_rejections_halves_only_once_per_round_trip() -> None:
    limiter = AdaptiveLimiter()
    requests = await start(limiter, 64)
    for request in requests:
        await request.end(False)
    assert limiter.limit == 32
    later = await start(limiter, 40)
    assert sum(request.admitted for request in later) == 32
    await later[0].end(False)
    await later[1].end(False)
    assert limiter.limit == 16
    for request in later[2:]:
        await request.end(None)


async def test_a_full_window_of_successes_adds_one() -> None:
    limiter = AdaptiveLimiter()
    for request in await start(limiter, 20):
        await request.end(False)
    assert limiter.limit == 10
    requests = await start(limiter, 40)
    for request in requests[:10]:
        await request.end(True)
    assert limiter.limit == 10
    await requests[10].end(True)
    assert limiter.limit == 11
    for request in requests[11:]:
        await request.end(None)


async def test_successes_that_leave_room_unused_prove_nothing() -> None:
    limiter = AdaptiveLimiter()
    for request in await start(limiter, 20):
        await request.end(False)
    for _ in range(50):
        (request,) = await start(limiter, 1)
        await request.end(True)
    assert limiter.limit == 10


async def test_the_limit_never_falls_below_one_nor_rises_above_the_maximum() -> None:
    limiter = AdaptiveLimiter(maximum=3)
    for _ in range(10):
        (request,) = await start(limiter, 1)
        await request.end(False)
    assert limiter.limit == 1
    for _ in range(20):
        requests = await start(limiter, 5)
        for request in requests:
            await request.end(True)
    assert limiter.limit == 3
    assert limiter.in_flight_maximum == 3


async def test_who_came_first_goes_first_also_when_tried_again() -> None:
    limiter = AdaptiveLimiter(maximum=1)
    old = limiter.ticket()
    (running,) = await start(limiter, 1)
    young = await start(limiter, 2)
    again = Request(limiter, old)
    await settle()
    await running.end(True)
    assert [request.admitted for request in (again, *young)] == [True, False, False]
    await again.end(True)
    assert [request.admitted for request in young] == [True, False]
    for request in young:
        await request.end(True)


async def test_a_newcomer_does_not_slip_in_before_the_one_who_was_just_admitted() -> None:
    limiter = AdaptiveLimiter(maximum=1)
    running, waiting = await start(limiter, 2)
    running._verdict.set_result(True)
    await running.task
    newcomer = Request(limiter)
    await settle()
    assert (waiting.admitted, newcomer.admitted) == (True, False)
    await waiting.end(True)
    await newcomer.end(True)


async def test_cancelling_a_waiter_that_was_admitted_in_the_same_moment_gives_its_room_back() -> None:
    limiter = AdaptiveLimiter(maximum=1)
    running, waiting, last = await start(limiter, 3)
    running._verdict.set_result(True)
    await running.task  # admits `waiting`, which has not run yet
    waiting.task.cancel()
    await settle()
    assert last.admitted
    await last.end(True)
    assert (limiter.in_flight, limiter.waiting) == (0, 0)


@given(st.lists(st.sampled_from(["start", "succeed", "reject", "fail", "cancel"]), max_size=60), st.data())
def test_whatever_happens_no_room_is_lost_and_the_limit_holds(events: list[str], data: st.DataObject) -> None:
    async def play() -> None:
        limiter = AdaptiveLimiter(maximum=4)
        requests: list[Request] = []
        for event in events:
            alive = [request for request in requests if not request.task.done()]
            if event == "start":
                requests.append(Request(limiter))
            elif event == "cancel" and alive:
                data.draw(st.sampled_from(alive)).task.cancel()
            elif running := [request for request in alive if request.admitted and not request._verdict.done()]:
                verdict = {"succeed": True, "reject": False}.get(event)
                data.draw(st.sampled_from(running))._verdict.set_result(verdict)
            if data.draw(st.booleans()):
                await settle()
            assert limiter.in_flight <= 4
        await settle()
        while alive := [request for request in requests if not request.task.done()]:
            assert any(request.admitted for request in alive), "somebody waits although there is room"
            for request in alive:
                if request.admitted and not request._verdict.done():
                    request._verdict.set_result(None)
            await settle()
        await asyncio.gather(*(request.task for request in requests), return_exceptions=True)
        assert (limiter.in_flight, limiter.waiting) == (0, 0)

    asyncio.run(play())


async def test_a_policy_finds_the_capacity_of_its_endpoint_and_every_call_is_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    capacity, in_flight, most = 4, 0, 0

    async def chat(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal in_flight, most
        if in_flight >= capacity:
            return web.json_response({"error": {"message": "slow down"}}, status=429)
        in_flight += 1
        most = max(most, in_flight)
        try:
            for _ in range(20):
                await asyncio.sleep(0)
        finally:
            in_flight -= 1
        return web.json_response(completion_body())

    async with endpoint(chat) as url, OpenAIPolicy(url, retry=Clock().retry(rate_limited_attempts=200)) as policy:
        completions = await asyncio.gather(*(ask(policy, session=str(index)) for index in range(200)))
        stats = policy.stats
    assert {completion.message.text for completion in completions} == {"hi"}
    assert most == capacity
    assert stats.limit is not None
    assert stats.limit <= 2 * capacity
    assert (stats.calls, stats.in_flight, stats.waiting) == (200, 0, 0)
    assert [record.message.partition(";")[0] for record in caplog.records] == [f"{url}/chat/completions answers 429"]


@pytest.mark.parametrize("maximum", [1, 7])
async def test_a_hard_maximum_holds_from_the_start(maximum: int) -> None:
    limiter = AdaptiveLimiter(maximum)
    requests = await start(limiter, 20)
    assert limiter.in_flight_maximum == maximum
    assert limiter.waiting == 20 - maximum
    for request in requests:
        await request.end(True)
