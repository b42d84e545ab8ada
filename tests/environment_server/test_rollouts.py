"""`POST /rollout`: the server plays, the caller gets episodes, and a caller that leaves is not played for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

import agentenv
from agentenv import EnvSpec, Episode, Status
from agentenv.gateway.environments.wire import RolloutReply, RolloutSummary
from agentenv.rollout.codec import episode_from_wire
from tests.environment_server.actors import TASKS, Turns, spec
from tests.environment_server.serving import calling, serving, until
from tests.environment_server.test_faults import odd
from tests.support.mock_openai import ChatRequest, MockOpenAI, Reply, ToolCall

TURNS = spec("Turns")


@asynccontextmanager
async def stage(wanted: EnvSpec = TURNS, script: Any = None, **config: Any) -> AsyncIterator[tuple[str, MockOpenAI]]:
    """The address of a server, and a model for it to play with."""
    async with MockOpenAI(script or (lambda request: "hello")) as model, serving(wanted, **config) as server:
        yield server.url, model


async def ask(url: str, model: MockOpenAI, **body: Any) -> tuple[int, dict[str, Any]]:
    wanted = {"policy": {"url": model.base_url, "model": "mock"}, **body}
    async with aiohttp.ClientSession() as http, http.post(f"{url}/rollout", json=wanted) as response:
        return response.status, await response.json()


def episodes(reply: dict[str, Any]) -> list[Episode]:
    RolloutReply.model_validate(reply)
    return [episode_from_wire(wire) for wire in reply["episodes"]]


async def test_whole_episodes_come_back_as_the_journal_would_have_them() -> None:
    async with stage() as (url, model):
        status, reply = await ask(url, model, split="test", count=3, episodes=2, seed=4)
    assert status == 200
    played = episodes(reply)
    assert reply["summary"]["statuses"] == {"ok": 6}
    assert reply["summary"]["mean_reward"] == 1.0
    drawn = [task.id for task in Turns().tasks("test").shuffle(4).head(3)]
    assert sorted({episode.task.id for episode in played}) == sorted(drawn)
    assert {(episode.key.task_id, episode.key.sibling) for episode in played} == {
        (id, sibling) for id in drawn for sibling in (0, 1)
    }
    assert all(len(episode.turns) == 2 and episode.reward == 1.0 for episode in played)


async def test_tokens_come_with_the_episodes_when_they_are_asked_for() -> None:
    async with stage() as (url, model):
        _, reply = await ask(url, model, sampling={"tokens": True, "temperature": 0.5, "max_tokens": 9})
        assert model.requests[0].body["temperature"] == 0.5
    (episode,) = episodes(reply)
    assert all(turn.action.tokens is not None and turn.action.tokens.sampled_ids for turn in episode.turns)


async def test_the_model_may_use_the_tools() -> None:
    def calculate(request: ChatRequest) -> str | Reply:
        if request.turn == 0:
            first, operator, second = request.last_text.replace("plus", "+").replace("minus", "-").split()
            expression = f"{first}{operator.replace('times', '*')}{second}"
            return Reply(tool_calls=(ToolCall("calculator", json.dumps({"expression": expression})),))
        return request.last_text

    async with stage(agentenv.spec("calculator-v0").with_kwargs(level=1), calculate) as (url, model):
        _, reply = await ask(url, model, split="test", count=5)
    assert reply["summary"]["mean_reward"] == 1.0


@pytest.mark.parametrize("answers", [False, True])
async def test_the_tasks_of_the_episodes_keep_their_secrets(answers: bool) -> None:
    async with stage(answers=answers) as (url, model):
        _, reply = await ask(url, model, tasks=[{"split": "test", "id": "t2"}])
        (episode,) = episodes(reply)
        assert ("s2" in json.dumps(reply)) == answers
        assert (episode.task == TASKS[2]) == answers
        assert episode.task.prompt == TASKS[2].prompt


async def test_a_row_of_the_callers_own_is_played_and_comes_back_whole() -> None:
    own = {"id": "mine", "prompt": [{"role": "user", "content": "my question"}], "answer": 9, "data": {"a": 1}}
    async with stage() as (url, model):
        _, reply = await ask(url, model, tasks=[{"row": own}])
    assert episodes(reply)[0].task.answer == 9


async def test_episodes_are_streamed_as_they_end() -> None:
    first_is_out = asyncio.Event()

    async def slow(seconds: float) -> None:
        if seconds:
            await first_is_out.wait()

    def script(request: ChatRequest) -> Reply:
        return Reply("hello", latency=1.0 if "question 0" in json.dumps(request.body["messages"]) else 0.0)

    async with MockOpenAI(script, sleep=slow) as model, serving(TURNS) as server, aiohttp.ClientSession() as http:
        tasks = [{"index": 0}, {"index": 1}]
        body = {"policy": {"url": model.base_url, "model": "mock"}, "tasks": tasks, "stream": True}
        async with http.post(f"{server.url}/rollout", json=body) as response:
            assert response.content_type == "application/x-ndjson"
            early = episode_from_wire(json.loads(await response.content.readline())["episode"])
            assert early.task.id == "t1", "the quick one does not wait for the slow one"
            first_is_out.set()
            late = episode_from_wire(json.loads(await response.content.readline())["episode"])
            assert late.task.id == "t0"
            summary = json.loads(await response.content.readline())["summary"]
            assert RolloutSummary.model_validate(summary).episodes == 2
            assert await response.content.read() == b""


async def test_a_caller_that_leaves_is_not_played_for() -> None:
    asked = asyncio.Event()

    async def never(seconds: float) -> None:
        asked.set()
        await asyncio.Event().wait()

    async with MockOpenAI(lambda request: "hello", latency=1.0, sleep=never) as model, serving(TURNS) as server:
        opened, closed = Turns.opened, Turns.closed
        caller = asyncio.create_task(ask(server.url, model, count=4))
        await asked.wait()
        await until(lambda: Turns.opened == opened + 4)
        assert server.sessions.occupied == 4
        caller.cancel()
        await until(lambda: Turns.closed == closed + 4)
        await until(lambda: server.sessions.occupied == 0)


async def test_a_failing_environment_is_a_status_and_never_a_reward() -> None:
    async with stage(odd("raises")) as (url, model):
        _, reply = await ask(url, model)
    (episode,) = episodes(reply)
    assert episode.status is Status.ENV_ERROR
    assert (episode.reward, reply["summary"]["mean_reward"]) == (None, None)


async def test_a_model_that_cannot_be_reached_is_said_so() -> None:
    async with serving(TURNS) as server, aiohttp.ClientSession() as http:
        body = {"policy": {"url": "http://127.0.0.1:9/v1"}, "model_timeout": 0.5, "episode_timeout": 1.0}
        async with http.post(f"{server.url}/rollout", json=body) as response:
            reply = await response.json()
        assert reply.get("error", {}).get("code") == "model_error" or set(reply["summary"]["statuses"]) <= {
            "model_error",
            "timeout",
        }


async def test_rollouts_and_sessions_share_the_room() -> None:
    async with stage(max_sessions=3) as (url, model), calling(url) as caller:
        await caller.create()
        status, reply = await ask(url, model, count=3, max_concurrent=3)
        assert (status, reply["error"]["code"]) == (503, "at_capacity")
        status, _ = await ask(url, model, count=3, max_concurrent=2)
        assert status == 200


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"policy": {"url": "file:///etc/passwd"}}, "malformed"),
        ({"policy": {}}, "malformed"),
        ({"count": 0}, "malformed"),
        ({"temperature": 1}, "malformed"),
        ({"tasks": [{"index": 1}, {"index": 1}]}, "malformed"),
        ({"tasks": [{"index": 99}]}, "no_such_task"),
        ({"split": "holdout"}, "no_such_task"),
    ],
)
async def test_a_rollout_that_makes_no_sense_is_refused(body: dict[str, Any], code: str) -> None:
    async with stage() as (url, model):
        _, reply = await ask(url, model, **body)
    assert reply["error"]["code"] == code


async def test_the_servers_own_model_key_goes_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "the server's own")
    async with stage() as (url, model):
        await ask(url, model)
        assert "Authorization" not in model.requests[0].headers
        await ask(url, model, policy={"url": model.base_url, "model": "mock", "api_key": "the caller's"})
        assert model.requests[-1].headers["Authorization"] == "Bearer the caller's"
