"""What a session promises, over either wire: each step once, in order, by one player, and failures as what they are."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

import agentenv
from tests.environment_server.actors import TASKS, Turns, Waiting, spec
from tests.environment_server.serving import Caller, calling, serving

BOTH_WIRES = pytest.mark.parametrize("over", ["http", "socket"])
TURNS = spec("Turns")


@pytest.fixture(params=["http", "socket"])
async def caller(request: pytest.FixtureRequest) -> AsyncIterator[Caller]:
    async with serving(TURNS) as server, calling(server.url, request.param) as found:
        yield found


async def test_an_episode_is_an_opening_and_steps_until_it_ends(caller: Caller) -> None:
    session = await caller.create(task={"split": "test", "index": 3}, seed=7)
    assert session["messages"] == [{"role": "user", "content": "question 3"}]
    assert [tool["function"]["name"] for tool in session["tools"]] == ["look"]
    assert (session["seed"], session["turn"], session["state_key"]) == (7, 0, "('t3', 2)")

    first = (await caller.step(session, 0)).body
    assert first["messages"] == [{"role": "user", "content": "you said 'hello'"}]
    assert (first["reward"], first["terminated"], first["truncated"]) == (0.0, False, False)
    assert first["tools"] is None, "the same tools are not sent again"
    assert first["components"][0] == {"name": "end", "value": 0.0, "weight": 1.0}

    last = (await caller.step(session, 1)).body
    assert (last["reward"], last["terminated"], last["state_key"]) == (1.0, True, None)
    assert [tool["function"]["name"] for tool in last["tools"]] == ["look", "jump"]

    seen = (await caller.ask("view", session=session["session"])).body
    assert [message["role"] for message in seen["messages"]] == ["user", "assistant", "user", "assistant", "user"]
    assert (seen["turn"], seen["terminated"]) == (2, True)


async def test_a_step_after_the_end_is_refused(caller: Caller) -> None:
    session = await caller.create()
    await caller.step(session, 0)
    await caller.step(session, 1)
    assert (await caller.step(session, 2)).code == "session_over"


async def test_a_request_id_that_comes_again_gets_the_recorded_reply_and_plays_no_second_step(caller: Caller) -> None:
    session = await caller.create()
    steps = Turns.steps
    first = await caller.step(session, 0, request_id="the-same-again")
    again = await caller.step(session, 0, request_id="the-same-again")
    assert first.body == again.body
    assert Turns.steps == steps + 1


async def test_a_creation_that_is_asked_for_twice_is_one_session(caller: Caller) -> None:
    opened = Turns.opened
    first = await caller.create(request_id="a-creation", seed=3)
    again = await caller.create(request_id="a-creation", seed=3)
    assert first == again
    assert Turns.opened == opened + 1
    other = await caller.ask("create", request_id="a-creation", seed=4)
    assert other.code == "malformed", "an id names one request"


async def test_a_step_for_another_epoch_is_refused_and_not_played(caller: Caller) -> None:
    session = await caller.create()
    steps = Turns.steps
    answer = await caller.step({**session, "epoch": "of-an-earlier-process"}, 0)
    assert answer.code == "stale_epoch"
    assert answer.body["epoch"] == session["epoch"]
    assert Turns.steps == steps


async def test_of_two_clients_that_play_one_session_one_is_told(caller: Caller) -> None:
    session = await caller.create()
    answers = await asyncio.gather(caller.step(session, 0, "mine"), caller.step(session, 0, "no, mine"))
    codes = sorted(answer.code or "" for answer in answers)
    assert codes[0] == ""
    assert codes[1] in ("busy", "wrong_turn")


@BOTH_WIRES
async def test_a_repeated_request_waits_for_the_step_that_is_under_way(over: str) -> None:
    Waiting.prepare()
    async with serving(spec("Waiting")) as server, calling(server.url, over) as caller, calling(server.url) as other:
        session = await caller.create()
        first = asyncio.create_task(caller.step(session, 0, request_id="slow-request"))
        await Waiting.began.wait()
        again = asyncio.create_task(other.step(session, 0, request_id="slow-request"))
        busy = await other.step(session, 0, request_id="another-request")
        assert busy.code == "busy"
        Waiting.go.set()
        assert (await first).body == (await again).body
        assert Waiting.steps == 1


async def test_the_step_of_a_client_that_went_away_is_played_once_and_its_reply_kept() -> None:
    Waiting.prepare()
    async with serving(spec("Waiting")) as server:
        async with calling(server.url, "socket") as caller:
            session = await caller.create()
            gone = asyncio.create_task(caller.step(session, 0, request_id="before-the-cut"))
            await Waiting.began.wait()
            gone.cancel()
        Waiting.go.set()
        async with calling(server.url, "socket") as caller:
            answer = await caller.step(session, 0, request_id="before-the-cut")
        assert answer.code is None
        assert Waiting.steps == 1


@BOTH_WIRES
async def test_closing_a_session_stops_the_step_it_is_taking(over: str) -> None:
    Waiting.prepare()
    async with serving(spec("Waiting")) as server, calling(server.url, over) as caller, calling(server.url) as other:
        session = await caller.create()
        step = asyncio.create_task(caller.step(session, 0))
        await Waiting.began.wait()
        assert (await other.ask("close", session=session["session"])).code is None
        assert (await step).code == "session_closed"
        assert (Waiting.stopped, Waiting.closed) == (1, 1)
        assert (await other.ask("close", session=session["session"])).code is None, "closing twice is harmless"
        assert (await caller.step(session, 0)).code == "session_closed"


@pytest.mark.parametrize("session", ["nobody", "../../etc/passwd", "ünïcode ☃", "a" * 5000, "\x00", "sessions"])
async def test_a_session_nobody_opened_is_unknown(caller: Caller, session: str) -> None:
    epoch = (await caller.ask("server")).body["epoch"]
    answer = await caller.step({"session": session, "epoch": epoch}, 0)
    assert answer.code == "unknown_session"


@pytest.mark.parametrize(
    "change",
    [
        {"turn": "0"},
        {"turn": -1},
        {"turn": True},
        {"request_id": 7},
        {"message": None},
        {"message": "hello"},
        {"message": {"role": "user", "content": "I am the user"}},
        {"message": {"role": "assistant", "content": 7}},
        {"message": {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}},
    ],
)
async def test_a_step_that_makes_no_sense_is_refused_and_the_session_goes_on(change: dict[str, object]) -> None:
    async with serving(TURNS) as server, calling(server.url) as caller:
        session = await caller.create()
        assert (await caller.step(session, 0, **change)).code in ("malformed", "wrong_turn")
        assert (await caller.step(session, 0)).code is None


@pytest.mark.parametrize(
    "body",
    [
        {"seed": -1},
        {"seed": "seven"},
        {"tasks": 3},
        {"task": {"index": -1}},
        {"task": {"row": {"id": "mine"}, "index": 1}},
        {"task": {"row": {"id": "mine", "prompt": [{"role": "nobody"}]}}},
        {"task": "t1"},
    ],
)
async def test_a_creation_that_makes_no_sense_is_refused(caller: Caller, body: dict[str, object]) -> None:
    assert (await caller.ask("create", **body)).code == "malformed"


async def test_a_session_more_than_the_limit_is_refused_until_one_is_closed() -> None:
    async with serving(TURNS, max_sessions=2) as server, calling(server.url) as caller:
        first, _ = await caller.create(), await caller.create()
        refused = await caller.ask("create")
        assert (refused.code, refused.status) == ("at_capacity", 503)
        assert "at most 2" in refused.body["error"]["message"]
        assert (await caller.ask("server")).body["sessions"] == 2
        await caller.ask("close", session=first["session"])
        assert (await caller.ask("create")).code is None


async def test_a_task_is_chosen_by_row_by_position_by_id_or_by_dice(caller: Caller) -> None:
    own = {"id": "mine", "prompt": [{"role": "user", "content": "my question"}], "answer": 9}
    assert (await caller.create(task={"row": own}))["messages"][0]["content"] == "my question"
    assert (await caller.create(task={"split": "test", "id": "t4"}))["task"]["id"] == "t4"
    drawn = await caller.create(seed=11)
    assert drawn["task"]["id"] == next(iter(Turns().tasks("train").shuffle(11))).id
    same = await caller.create(task=drawn["task"]["reference"])
    assert same["task"]["id"] == drawn["task"]["id"]
    assert (await caller.ask("create", task={"split": "test", "id": "t9"})).code == "no_such_task"
    assert (await caller.ask("create", task={"index": 99})).code == "no_such_task"
    assert (await caller.ask("create", task={"split": "holdout"})).code == "no_such_task"
    assert (await caller.ask("create", task={"index": 1, "id": "t2"})).code == "task_changed"


async def test_an_endless_source_is_not_searched_for_an_id() -> None:
    async with serving(agentenv.spec("calculator-v0")) as server, calling(server.url) as caller:
        assert (await caller.ask("create", task={"id": "0123456789ab"})).code == "no_such_task"
        session = await caller.create(task={"split": "test", "index": 10_000})
        assert session["task"]["split"] == "test"


@pytest.mark.parametrize("answers", [False, True])
async def test_answers_are_served_only_where_the_server_was_told_to(answers: bool) -> None:
    async with serving(TURNS, answers=answers) as server, calling(server.url) as caller:
        session = await caller.create(task={"index": 2})
        page = (await caller.ask("tasks", split="train", limit=2)).body
        step = (await caller.step(session, 0)).body
        shown = json.dumps([session, page, step])
        assert ("answer 2" in shown) == answers, "the oracle's move"
        assert ('"s1"' in shown) == answers, "the data of a task"
        assert page["tasks"][1]["answer"] == (1 if answers else None)
        assert [task["reference"]["index"] for task in page["tasks"]] == [0, 1]
        assert page["size"] == len(TASKS)


async def test_tasks_are_listed_in_the_order_they_have_without_a_server(caller: Caller) -> None:
    page = (await caller.ask("tasks", split="test", shuffle=5, offset=1, limit=3)).body
    local = [Turns().tasks("test").shuffle(5).task(index).id for index in (1, 2, 3)]
    assert [task["id"] for task in page["tasks"]] == local
    assert (await caller.ask("tasks", split="test", offset=99)).body["tasks"] == []
    assert (await caller.ask("tasks", limit=5000)).code == "malformed"


@BOTH_WIRES
async def test_many_sessions_do_not_hear_each_other(over: str) -> None:
    async with serving(TURNS) as server, calling(server.url, over) as caller:

        async def play(number: int) -> None:
            session = await caller.create(task={"index": number % 5})
            for turn in range(2):
                step = (await caller.step(session, turn, f"{number}/{turn}")).body
                assert step["messages"][0]["content"] == f"you said '{number}/{turn}'"
                assert step["session"] == session["session"]
            await caller.ask("close", session=session["session"])

        await asyncio.gather(*(play(number) for number in range(50)))
        assert server.sessions.occupied == 0


async def test_a_blocking_environment_keeps_nobody_else_waiting() -> None:
    async with serving(spec("Blocking", kwargs={"seconds": 0.5})) as server, calling(server.url) as caller:
        session, other = await caller.create(), await caller.create()
        slow = asyncio.create_task(caller.step(session, 0))
        views = 0
        while not slow.done():
            await caller.ask("view", session=other["session"])
            views += 1
        assert views > 5
        assert (await slow).body["reward"] == 1.0
