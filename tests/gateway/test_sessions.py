"""Sessions: opened, scored, ended as they really ended, read back, and never left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from aiohttp import web

from agentenv.gateway import CallStatus, Gateway, GatewayClient, GatewayClientError
from agentenv.messages import user
from agentenv.outcome import Boundary, Status, StopReason
from agentenv.rewards import Component
from agentenv.rollout import Journal
from agentenv.tasks import Task
from agentenv.trajectory import build_rows
from tests.gateway.conftest import MESSAGES, Client, MakeGateway
from tests.gateway.test_faults import until
from tests.gateway.upstream import Upstream, always, answer

Harness = Callable[[Gateway], Awaitable[GatewayClient]]
ASKED: dict[str, Any] = {"model": "m", "messages": MESSAGES}
TOOLS: Any = [{"type": "function", "function": {"name": "calculator", "description": "", "parameters": {}}}]


def second_turn(content: str = "four") -> Any:
    return [*MESSAGES, {"role": "assistant", "content": content}, {"role": "user", "content": "sure?"}]


async def test_a_finished_session_is_an_episode_that_can_be_trained_on(
    make_gateway: MakeGateway, client: Client, harness: Harness, tmp_path: Path
) -> None:
    replies = always(answer(), answer("yes", [9], prompt=[1, 2, 3, 7, 8, 4]))
    with Journal.open(tmp_path / "journal.sqlite") as journal:
        async with Upstream(replies) as upstream:
            gateway = await make_gateway(upstream.url, journal=journal, policy="vllm:m")
            manager = await harness(gateway)
            task = Task.ask("t1", "12 times 34", answer=408)
            session = await manager.create("s", task=task, environment="calc-v0", iteration=3, metadata={"run": 7})
            create = client(gateway, "s").chat.completions.create
            await create(**ASKED, tools=TOOLS)
            await session.reward(brevity=0.25)
            await create(model="m", messages=second_turn(), tools=TOOLS)
            await session.reward(1.0)
            finished = await session.finish()

        assert (finished.status, finished.stop_reason, finished.reward) == (Status.OK, StopReason.TERMINATED, 1.25)
        assert (dict(finished.components), finished.turns) == ({"brevity": 0.25, "reward": 1.0}, 2)
        (episode,) = journal.episodes()
    assert episode.task == task
    assert str(episode.key) == "calc-v0/3/t1/t1/0"
    assert episode.policy == "vllm:m"
    assert [turn.terminated for turn in episode.turns] == [False, True]
    assert [[message.text for message in turn.observation.messages] for turn in episode.turns] == [
        ["12 times 34"],
        ["sure?"],
    ]
    assert [turn.observation.tools[0].name for turn in episode.turns] == ["calculator"] * 2
    assert [turn.info["call"]["parent"] for turn in episode.turns] == [None, 0]
    assert episode.turns[0].info["session"] == {"id": "s", "run": 7}
    (row,) = build_rows([episode]).rows
    assert row.ids.tolist() == [1, 2, 3, 7, 8, 4, 9]
    assert row.mask.tolist() == [False, False, False, True, True, False, True]


async def test_a_session_read_back_holds_every_call_and_its_rows(
    make_gateway: MakeGateway, client: Client, harness: Harness
) -> None:
    async with Upstream(always(answer())) as upstream, aiohttp.ClientSession() as http:
        gateway = await make_gateway(upstream.url)
        manager = await harness(gateway)
        await client(gateway, "s").chat.completions.create(**ASKED)
        open_one = await manager.session("s").trajectory()
        await manager.session("s").finish(reward=0.5)
        ended = await manager.session("s").trajectory()

        assert open_one.episode.status is Status.CANCELLED
        assert (ended.episode.status, ended.episode.reward) == (Status.OK, 0.5)
        assert open_one.calls == ended.calls
        assert ended.calls[0].tokens is not None
        assert ended.calls[0].tokens.sampled_ids == (7, 8)
        assert ended.continuations == {"opening": 1}
        async with http.get(f"{gateway.url}/sessions/s/trajectory?rows=1&tokens=0") as response:
            found = await response.json()
        assert found["rows"][0]["mask"] == [False] * 3 + [True] * 2
        assert found["calls"][0]["tokens"] is None
        (listed,) = await manager.sessions()
        assert (listed["id"], listed["status"], listed["calls"]) == ("s", "ok", 1)


async def test_without_a_reward_nothing_is_scored_and_nothing_is_zero(
    make_gateway: MakeGateway, client: Client, harness: Harness
) -> None:
    async with Upstream(always(answer())) as upstream:
        gateway = await make_gateway(upstream.url)
        session = (await harness(gateway)).session("s")
        await client(gateway, "s").chat.completions.create(**ASKED)
        finished = await session.finish()
    assert (finished.status, finished.reward) == (Status.OK, None)


async def test_rewards_are_named_weighted_and_belong_to_a_call(
    make_gateway: MakeGateway, client: Client, harness: Harness
) -> None:
    async with Upstream(always(answer())) as upstream:
        gateway = await make_gateway(upstream.url)
        manager = await harness(gateway)
        session = manager.session("s")
        for _ in range(3):
            await client(gateway, "s").chat.completions.create(**ASKED)
        await session.reward(call=0, correct=1.0)
        parts = [{"name": "style", "value": 0.5, "weight": 0.2}]
        await manager.request("POST", "/sessions/s/reward", {"components": parts, "call": 0})
        await session.finish(reward=2.0)
        turns = (await session.trajectory()).episode.turns
    assert turns[0].reward is not None
    assert turns[0].reward.components == (Component("correct", 1.0), Component("style", 0.5, 0.2))
    assert [turn.reward for turn in turns] == [1.1, 0.0, 2.0]


@pytest.mark.parametrize(
    "body",
    [
        {"reward": "1"},
        {"reward": None},
        {},
        {"components": {}},
        {"components": {"correct": None}},
        {"components": [{"value": 1}]},
        {"reward": 1, "components": {"correct": 1}},
        {"reward": 1, "call": 9},
        {"reward": 1, "call": "first"},
        {"reward": 1, "surprise": 1},
    ],
)
async def test_what_is_no_reward_is_refused(
    make_gateway: MakeGateway, client: Client, harness: Harness, body: dict[str, Any]
) -> None:
    async with Upstream(always(answer())) as upstream:
        gateway = await make_gateway(upstream.url)
        manager = await harness(gateway)
        await client(gateway, "s").chat.completions.create(**ASKED)
        with pytest.raises(GatewayClientError) as caught:
            await manager.request("POST", "/sessions/s/reward", body)
        assert caught.value.status == 400
        assert (await manager.session("s").finish()).reward is None


async def test_a_reward_that_is_not_finite_is_refused(
    make_gateway: MakeGateway, client: Client, harness: Harness
) -> None:
    async with Upstream(always(answer())) as upstream, aiohttp.ClientSession() as http:
        gateway = await make_gateway(upstream.url)
        await client(gateway, "s").chat.completions.create(**ASKED)
        for raw in (b'{"reward": NaN}', b'{"reward": 1e999}', b"[1]", b"1"):
            async with http.post(f"{gateway.url}/sessions/s/reward", data=raw) as response:
                assert response.status == 400


async def test_a_call_that_failed_upstream_makes_a_model_error_of_the_session(
    make_gateway: MakeGateway, client: Client, harness: Harness
) -> None:
    async with Upstream(always({"error": {"message": "the engine died"}}, status=500)) as upstream:
        gateway = await make_gateway(upstream.url)
        session = (await harness(gateway)).session("s")
        with pytest.raises(openai.InternalServerError):
            await client(gateway, "s").chat.completions.create(**ASKED)
        finished = await session.finish(reward=0.0)
    assert (finished.status, finished.reward) == (Status.MODEL_ERROR, None)
    assert finished.failure is not None
    assert (finished.failure.boundary, finished.failure.message) == (Boundary.MODEL, "the engine died")


async def test_a_failed_call_that_was_repeated_with_success_does_not(
    make_gateway: MakeGateway, client: Client, harness: Harness
) -> None:
    failing = 2

    async def recovering(upstream: Upstream, request: web.Request, body: Any) -> web.StreamResponse:
        nonlocal failing
        failing -= 1
        if failing >= 0:
            return web.json_response({"error": {"message": "oops"}}, status=500)
        return await always(answer())(upstream, request, body)

    async with Upstream(recovering) as upstream:
        gateway = await make_gateway(upstream.url)
        session = (await harness(gateway)).session("s")
        await client(gateway, "s", max_retries=2).chat.completions.create(**ASKED)  # the library repeats it
        finished = await session.finish(reward=1.0)
        trajectory = await session.trajectory()
    assert (finished.status, finished.reward, finished.turns) == (Status.OK, 1.0, 1)
    assert [call.status for call in trajectory.calls] == [CallStatus.UPSTREAM_ERROR] * 2 + [CallStatus.OK]


async def test_an_agent_that_outgrew_the_context_is_truncated(
    make_gateway: MakeGateway, client: Client, harness: Harness
) -> None:
    too_long = {"error": {"message": "This model's maximum context length is 8 tokens.", "code": 400}}

    async def short(upstream: Upstream, request: web.Request, body: Any) -> web.StreamResponse:
        fits = len(body["messages"]) < 3
        return await always(answer() if fits else too_long, status=200 if fits else 400)(upstream, request, body)

    async with Upstream(short) as upstream:
        gateway = await make_gateway(upstream.url)
        session = (await harness(gateway)).session("s")
        await client(gateway, "s").chat.completions.create(**ASKED)
        with pytest.raises(openai.BadRequestError):
            await client(gateway, "s").chat.completions.create(model="m", messages=second_turn())
        finished = await session.finish(reward=0.5)
    assert (finished.status, finished.stop_reason) == (Status.TRUNCATED, StopReason.CONTEXT_LENGTH)
    assert finished.reward == 0.5


async def test_an_agent_that_never_called_the_model_failed(make_gateway: MakeGateway, harness: Harness) -> None:
    async with Upstream(always(answer())) as upstream:
        session = await (await harness(await make_gateway(upstream.url))).create()
        finished = await session.finish(reward=1.0)
    assert (finished.status, finished.reward) == (Status.ENV_ERROR, None)


@pytest.mark.parametrize("status", [Status.TIMEOUT, Status.ENV_ERROR, Status.VERIFIER_ERROR, Status.CANCELLED])
async def test_a_harness_says_what_went_wrong_on_its_side(
    make_gateway: MakeGateway, client: Client, harness: Harness, status: Status
) -> None:
    async with Upstream(always(answer())) as upstream:
        gateway = await make_gateway(upstream.url)
        session = (await harness(gateway)).session("s")
        await client(gateway, "s").chat.completions.create(**ASKED)
        finished = await session.finish(status, reward=1.0, problem="it broke")
    assert (finished.status, finished.reward) == (status, None)
    assert (finished.failure is None) == (status is Status.CANCELLED)
    assert finished.failure is None or finished.failure.message == "it broke"


async def test_an_abandoned_session_ends_with_its_lease_and_is_never_scored(
    make_gateway: MakeGateway, client: Client, harness: Harness, tmp_path: Path
) -> None:
    with Journal.open(tmp_path / "journal.sqlite") as journal:
        async with Upstream(always(answer())) as upstream:
            gateway = await make_gateway(upstream.url, journal=journal, lease_seconds=0.1)
            await client(gateway, "s").chat.completions.create(**ASKED)
            await (await harness(gateway)).session("s").reward(0.0)
            await until(lambda: not gateway.sessions.open)
            await until(lambda: journal.counts() == {Status.TIMEOUT: 1})
            with pytest.raises(openai.APIStatusError) as caught:
                await client(gateway, "s").chat.completions.create(**ASKED)
        assert (caught.value.status_code, caught.value.code) == (410, "session_ended")
        (episode,) = journal.episodes()
    assert (episode.status, episode.stop_reason, episode.reward) == (
        Status.TIMEOUT,
        StopReason.EPISODE_TIMEOUT,
        None,
    )


async def test_a_gateway_that_stops_ends_its_sessions_as_cancelled(
    make_gateway: MakeGateway, client: Client, tmp_path: Path
) -> None:
    with Journal.open(tmp_path / "journal.sqlite") as journal:
        async with Upstream(always(answer())) as upstream:
            gateway = await make_gateway(upstream.url, journal=journal)
            for session in ("a", "b"):
                await client(gateway, session).chat.completions.create(**ASKED)
            await gateway.close()
        assert journal.counts() == {Status.CANCELLED: 2}
        assert all(len(episode.turns) == 1 for episode in journal.episodes())


async def test_a_session_that_ends_during_a_call_aborts_it(
    make_gateway: MakeGateway, client: Client, harness: Harness
) -> None:
    started = asyncio.Event()

    async def endless(upstream: Upstream, request: web.Request, body: Any) -> web.StreamResponse:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with Upstream(endless) as upstream:
        gateway = await make_gateway(upstream.url)
        session = (await harness(gateway)).session("s")
        asking = asyncio.create_task(client(gateway, "s").chat.completions.create(**ASKED))
        await asyncio.wait_for(started.wait(), 5)
        finished = await session.finish()
        with pytest.raises(openai.APIStatusError) as caught:
            await asking
        assert caught.value.status_code == 410
        await asyncio.wait_for(upstream.gone.wait(), 5)
    assert finished.status is Status.ENV_ERROR
    assert not gateway.sessions.ended["s"].session.tasks


async def test_a_call_that_arrives_while_its_session_ends_opens_no_second_one(
    make_gateway: MakeGateway, client: Client
) -> None:
    started, aborted, leave = asyncio.Event(), asyncio.Event(), asyncio.Event()
    async with Upstream(always(answer())) as upstream:
        gateway = await make_gateway(upstream.url)
        session = gateway.sessions.use("s")

        async def slow_to_leave() -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                aborted.set()
                await leave.wait()

        task = asyncio.create_task(slow_to_leave())
        session.tasks.add(task)
        await started.wait()
        ending = asyncio.create_task(gateway.sessions.end(session))
        await aborted.wait()
        with pytest.raises(openai.APIStatusError) as caught:
            await client(gateway, "s").chat.completions.create(**ASKED)
        assert caught.value.status_code == 410
        leave.set()
        await ending
        assert list(gateway.sessions.ended) == ["s"]
        assert not gateway.sessions.open


async def test_siblings_are_numbered_and_a_number_of_ones_own_is_taken_once(
    make_gateway: MakeGateway, client: Client, harness: Harness, tmp_path: Path
) -> None:
    with Journal.open(tmp_path / "journal.sqlite") as journal:
        async with Upstream(always(answer())) as upstream:
            for _ in range(2):  # the second gateway goes on with the first one's journal
                gateway = await make_gateway(upstream.url, journal=journal)
                manager = await harness(gateway)
                for _ in range(2):
                    session = await manager.create(task=Task("t"), group="g")
                    await client(gateway, session.id).chat.completions.create(**ASKED)
                    assert (await session.finish(reward=1.0)).problem == ""
            session = await manager.create(task=Task("t"), group="g", sibling=1)
            await client(gateway, session.id).chat.completions.create(**ASKED)
            assert "finished attempt" in (await session.finish(reward=1.0)).problem
        assert [episode.key.sibling for episode in journal.episodes()] == [0, 1, 2, 3]


async def test_a_deleted_session_is_gone_and_its_name_free(
    make_gateway: MakeGateway, client: Client, harness: Harness
) -> None:
    async with Upstream(always(answer())) as upstream:
        gateway = await make_gateway(upstream.url)
        manager = await harness(gateway)
        session = await manager.create("s")
        with pytest.raises(GatewayClientError) as caught:
            await manager.create("s")
        assert caught.value.status == 409
        await session.delete()
        with pytest.raises(GatewayClientError) as caught:
            await session.trajectory()
        assert caught.value.status == 404
        await manager.create("s")


async def test_old_sessions_make_room_for_new_ones(make_gateway: MakeGateway, client: Client, harness: Harness) -> None:
    async with Upstream(always(answer())) as upstream:
        gateway = await make_gateway(upstream.url, kept_bytes=10_000)
        for number in range(10):
            await client(gateway, str(number)).chat.completions.create(**ASKED)
            await (await harness(gateway)).session(str(number)).finish()
    assert 1 < len(gateway.sessions.ended) < 10
    assert list(gateway.sessions.ended)[-1] == "9"


@pytest.mark.parametrize(
    "body",
    [
        {"id": 3},
        {"id": ""},
        {"id": "a/b"},
        {"id": ".."},
        {"id": "x" * 201},
        {"id": "a\nb"},
        {"task": 3},
        {"task": {"question": "?"}},
        {"task": {"id": "t", "prompt": [{"content": "?"}]}},
        {"sibling": -1, "task": "t"},
        {"group": "g"},
        {"seed": "x"},
        {"metadata": []},
        {"unheard": 1},
    ],
)
async def test_a_session_that_cannot_be_is_refused(
    make_gateway: MakeGateway, harness: Harness, body: dict[str, Any]
) -> None:
    async with Upstream(always(answer())) as upstream:
        gateway = await make_gateway(upstream.url)
        with pytest.raises(GatewayClientError) as caught:
            await (await harness(gateway)).request("POST", "/sessions", body)
    assert caught.value.status == 400
    assert not gateway.sessions.open


async def test_an_unusual_role_and_an_unusual_tool_reach_the_episode(
    make_gateway: MakeGateway, client: Client, harness: Harness
) -> None:
    odd: Any = [*MESSAGES, {"role": "ipython", "content": "out[1]"}, {"role": "user", "content": [{"type": "new"}]}]
    async with Upstream(always(answer())) as upstream:
        gateway = await make_gateway(upstream.url)
        session = (await harness(gateway)).session("s")
        tools: Any = [{"type": "web_search"}]
        await client(gateway, "s").chat.completions.create(model="m", messages=odd, tools=tools)
        await session.finish()
        (turn,) = (await session.trajectory()).episode.turns
    assert turn.observation.messages[0] == user("12 times 34")
    assert turn.observation.messages[1].extra == {"wire_role": "ipython"}
    assert turn.observation.tools == ()
