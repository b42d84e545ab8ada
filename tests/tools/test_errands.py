"""The environments: what they ask for can be done, is done by nothing else, and is the same for ever."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import agentenv
from agentenv.env import Action
from agentenv.errors import ConfigError, VerifierError
from agentenv.messages import Message, ToolCall, assistant
from agentenv.rewards import Reward
from agentenv.tasks import Task
from agentenv.wrappers import Wrapper
from agentenv_tools.briefs import Brief, Call, seed_of
from agentenv_tools.env import WorldEnv
from agentenv_tools.errands.bookings import BookingErrands
from agentenv_tools.errands.calculator import CalculatorErrands
from agentenv_tools.errands.calendar import CalendarErrands
from agentenv_tools.errands.files import FileErrands
from agentenv_tools.errands.office import Office
from agentenv_tools.errands.search import SearchErrands
from agentenv_tools.errands.sql import SqlErrands
from agentenv_tools.world import Worlds
from tests.environments.playing import continue_oracle, play, play_oracle

IDS = [f"tools/{name}-v0" for name in ("calculator", "search", "calendar", "sql", "files", "bookings", "office")]
"""Those that need no sandbox."""
STATEFUL: list[type[WorldEnv]] = [BookingErrands, CalendarErrands, FileErrands, SqlErrands, Office]
EVERY: list[type[WorldEnv]] = [CalculatorErrands, SearchErrands, *STATEFUL]

KINDS = {
    "tools/calculator-v0": {"expression", "purchase", "savings"},
    "tools/search-v0": {"fact", "chain", "comparison"},
    "tools/calendar-v0": {"cancelling", "moving", "meeting", "two events", "clearing"},
    "tools/sql-v0": {"dearer", "purge", "order", "shipped", "units", "best seller"},
    "tools/files-v0": {"setting", "sorting", "removal", "contact", "two things"},
    "tools/bookings-v0": {"cheapest", "giving back", "better weather", "changing"},
    "tools/office-v0": {"review", "trip", "total", "invoice", "left over"},
}

draws = st.integers(0, 2**31)
"""Seeds of a source of tasks: the task is its first."""


def first_task(env: WorldEnv, split: str = "train") -> Task:
    return env.tasks(split).task(0)


def unwrapped(env: agentenv.Env) -> WorldEnv:
    inner = env.unwrapped if isinstance(env, Wrapper) else env
    assert isinstance(inner, WorldEnv)
    return inner


def sent(*calls: Call) -> Message:
    return assistant(None, *(call.message_call(str(number)) for number, call in enumerate(calls)))


@pytest.mark.parametrize("id", IDS)
@settings(max_examples=25)
@given(seed=draws)
async def test_the_oracle_does_every_task_without_a_mistake_and_within_the_turns(id: str, seed: int) -> None:
    env = agentenv.make(id, seed=seed)
    played = await play_oracle(env, env.tasks("train").task(0))
    metrics = played.last.info["metrics"]
    assert played.last.terminated
    assert played.total == 1.0
    assert metrics["success"] is True
    assert (metrics["tool_errors"], metrics["missing_changes"], metrics["unwanted_changes"]) == (0, 0, 0)
    await env.close()


@pytest.mark.parametrize("id", IDS)
def test_every_kind_of_task_is_drawn(id: str) -> None:
    tasks = agentenv.make(id).tasks("train").head(120)
    assert {task.data["kind"] for task in tasks} == KINDS[id]


@pytest.mark.parametrize("kind", EVERY)
@settings(max_examples=25)
@given(seed=draws)
async def test_a_task_asks_something_or_changes_something_so_that_doing_nothing_earns_nothing(
    kind: type[WorldEnv], seed: int
) -> None:
    env = kind(seed=seed)
    task = first_task(env)
    assert (await play(env, ["DONE"], task)).total == 0.0
    if not env.brief.answer:
        assert env.verdict is not None
        assert env.verdict.missing > 0
        assert env.verdict.unwanted == 0


@pytest.mark.parametrize("kind", STATEFUL)
@settings(max_examples=15)
@given(seed=draws)
async def test_a_right_ending_with_something_else_changed_earns_nothing(kind: type[WorldEnv], seed: int) -> None:
    env = kind(seed=seed)
    task = first_task(env)
    harm = {
        "bookings": Call("book_train", {"train": "T101", "passenger": "Ada", "seats": 1}),
        "calendar": Call("create_event", {"title": "x", "start": "", "minutes": 30, "people": ["Ada"]}),
        "files": Call("write_file", {"path": "/harm.txt", "text": "x"}),
        "sql": Call("run_sql", {"statement": "INSERT INTO customers VALUES (1, 'x', 'y', 'gold')"}),
    }
    for world in set(env.worlds) & harm.keys():
        call = harm[world]
        if world == "calendar":
            call = Call(call.name, {**call.arguments, "start": await free_half_hour(env, task)})
        await play(env, [], task)
        while (message := env.oracle()).tool_calls:
            await env.step(Action(message))
        harmed = await env.step(Action(sent(call)))
        if harmed.info["tools"][0]["error"] is not None:
            assert world == "bookings"  # where no seat, or no money, is left
            continue
        last = await env.step(Action(env.oracle()))
        assert last.reward == 0.0
        assert last.info["metrics"]["missing_changes"] + last.info["metrics"]["unwanted_changes"] > 0


async def free_half_hour(env: WorldEnv, task: Task) -> str:
    """When Ada is free once the task is done."""
    await play(env, [], task)
    while (message := env.oracle()).tool_calls:
        await env.step(Action(message))
    for day in ("2031-03-03", "2031-03-04", "2031-03-05", "2031-03-06", "2031-03-07"):
        slots = sent(Call("find_free_slots", {"day": day, "minutes": 30, "people": ["Ada"]}))
        starts = json.loads((await env.step(Action(slots))).observation.messages[0].text)
        if starts:
            return str(starts[0])
    raise AssertionError("Ada has no time in this world")


@pytest.mark.parametrize("kind", STATEFUL)
@settings(max_examples=10)
@given(seed=draws)
async def test_a_task_that_is_half_done_earns_nothing(kind: type[WorldEnv], seed: int) -> None:
    env = kind(seed=seed)
    task = first_task(env)
    turns = Brief.of(task).turns
    changing = [number for number, turn in enumerate(turns) if {call.name for call in turn} & set(WRITES)]
    if not changing or Brief.of(task).answer is not None:
        return
    done = [sent(*turn) for turn in turns[: changing[-1]]]
    assert (await play(env, [*done, "DONE"], task)).total == 0.0


WRITES = (
    "book_train",
    "cancel_booking",
    "create_event",
    "move_event",
    "cancel_event",
    "write_file",
    "move_file",
    "delete_file",
)


@pytest.mark.parametrize("kind", EVERY)
def test_a_row_survives_json_and_says_what_world_it_is_about(kind: type[WorldEnv]) -> None:
    env = kind()
    for task in env.tasks("dev").head(5):
        again = Task.from_json(task.to_json())
        assert again == task
        assert Brief.of(again) == Brief.of(task)
        worlds = [Worlds(env.worlds, seed_of(row), env.world_options()) for row in (task, again)]
        assert worlds[0].facts() == worlds[1].facts()


@pytest.mark.parametrize("kind", EVERY)
def test_no_question_is_in_two_splits_and_an_index_is_always_the_same_task(kind: type[WorldEnv]) -> None:
    rows = {split: list(kind().tasks(split).head(40)) for split in ("train", "dev", "test")}
    questions = {split: {task.question for task in tasks} for split, tasks in rows.items()}
    assert not questions["train"] & questions["dev"]
    assert not questions["train"] & questions["test"]
    assert not questions["dev"] & questions["test"]
    assert kind().tasks("test").task(39) == rows["test"][39]
    assert rows["test"][39].split == "test"


@pytest.mark.parametrize("kind", EVERY)
def test_an_id_stands_for_one_task(kind: type[WorldEnv]) -> None:
    by_id: dict[str, Task] = {}
    for task in kind().tasks("train").head(60):
        assert by_id.setdefault(task.id, task) == task


def test_there_is_no_other_split() -> None:
    with pytest.raises(ConfigError, match="not 'validation'"):
        FileErrands().tasks("validation")


@pytest.mark.parametrize("kind", STATEFUL)
async def test_an_episode_goes_on_from_a_snapshot_on_another_instance(kind: type[WorldEnv]) -> None:
    tasks = [task for task in kind().tasks("dev").head(8) if len(Brief.of(task).turns) > 1]
    assert tasks
    for task in tasks:
        env, other = kind(), kind()
        await play(env, [], task)
        await env.step(Action(env.oracle()))
        snapshot, key = env.snapshot(), env.state_key()
        await continue_oracle(env)
        other.restore(snapshot)
        assert other.state_key() == key != env.state_key()
        steps = await continue_oracle(other)
        assert steps[-1].reward == 1.0
        env.restore(snapshot)
        assert env.state_key() == key


async def test_the_oracle_makes_calls_that_do_not_need_each_other_in_one_turn() -> None:
    env = BookingErrands()
    task = next(task for task in env.tasks("train") if task.data["kind"] == "better weather")
    played = await play_oracle(env, task)
    assert [len(step.info.get("tools", ())) for step in played.steps] == [2, 1, 1, 0]


async def test_the_oracle_goes_on_where_somebody_else_has_begun() -> None:
    env = CalendarErrands()
    task = next(task for task in env.tasks("train") if task.data["kind"] == "two events")
    first, second = Brief.of(task).turns[0]
    look = Call("list_events", {"day": "2031-03-03"})
    await play(env, [sent(look), sent(second)], task)
    assert [call.arguments for call in env.oracle().tool_calls] == [json.dumps(first.arguments, ensure_ascii=False)]
    assert (await continue_oracle(env))[-1].reward == 1.0


async def test_another_way_to_the_same_state_is_as_good() -> None:
    env = CalendarErrands()
    task = next(task for task in env.tasks("train") if task.data["kind"] == "meeting")
    (event,) = Brief.of(task).turns[-1]
    await play(env, [sent(event)], task)
    entered = json.loads(env.messages[-1].text)["event"]
    # cancelled and entered again, under another number, with the people in another order
    await env.step(Action(sent(Call("cancel_event", {"event": entered}))))
    turned = {**event.arguments, "people": list(reversed(event.arguments["people"]))}
    await env.step(Action(sent(Call("create_event", turned))))
    assert (await env.step(Action(assistant("DONE")))).reward == 1.0


async def test_an_answer_in_place_of_done_and_done_in_place_of_an_answer_end_nothing() -> None:
    env = SqlErrands()
    asked = next(task for task in env.tasks("train") if task.answer["answer"] is not None)
    told = next(task for task in env.tasks("train") if task.answer["answer"] is None)
    played = await play(env, ["DONE", ""], asked)
    assert not played.ended
    assert "with the line ANSWER: and the answer" in played.last.observation.messages[0].text
    played = await play(env, ["ANSWER: 1", "I have done it."], told)
    assert not played.ended
    assert "with the line DONE" in played.last.observation.messages[0].text


async def test_the_right_answer_earns_nothing_where_a_question_was_answered_by_changing_rows() -> None:
    env = SqlErrands()
    task = next(task for task in env.tasks("train") if task.data["kind"] == "units")
    harm = sent(Call("run_sql", {"statement": "DELETE FROM orders"}))
    assert (await play(env, [harm, f"ANSWER: {task.answer['answer']}"], task)).total == 0.0
    assert (await play(env, [f"ANSWER: {task.answer['answer']}"], task)).total == 1.0


async def test_calls_cost_and_the_answer_is_paid_beside_them() -> None:
    env = BookingErrands(tool_rules={"cost": 0.01, "costs": {"get_weather": 0.002}})
    task = next(task for task in env.tasks("train") if task.data["kind"] == "better weather")
    played = await play_oracle(env, task)
    assert [step.reward for step in played.steps] == [pytest.approx(cost) for cost in (-0.004, -0.01, -0.01, 1.0)]
    assert isinstance(played.steps[0].reward, Reward)
    assert played.steps[0].reward.components[0].name == "tool_cost"


async def test_without_tools_only_what_is_known_can_be_answered() -> None:
    env = Office(tool_rules={"without": ["*"]})
    told = next(task for task in env.tasks("train") if task.answer["answer"] is None)
    played = await play_oracle(env, told)
    assert [spec.name for spec in played.last.observation.tools] == []
    assert (len(played.steps), played.total) == (1, 0.0)
    asked = next(task for task in env.tasks("train") if task.answer["answer"] is not None)
    assert (await play_oracle(env, asked)).total == 1.0


async def test_one_tool_can_be_switched_off_by_name_and_a_wrong_name_is_a_mistake() -> None:
    env = FileErrands(tool_rules={"without": ["delete_file"]})
    await env.reset(seed=0)
    assert "delete_file" not in [spec.name for spec in env.tools.specs]
    with pytest.raises(ConfigError, match="no tool 'remove_file'"):
        await FileErrands(tool_rules={"without": ["remove_file"]}).reset(seed=0)


async def test_a_row_of_something_else_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="is no row of this environment"):
        await FileErrands().reset(task=Task.ask("x", "What?", answer=3), seed=0)


async def test_a_row_whose_calls_do_not_work_is_the_verifiers_fault_and_no_reward() -> None:
    brief = Brief("broken", "Delete it.", ((Call("delete_file", {"path": "/nowhere"}),),))
    with pytest.raises(VerifierError, match="the task's own call delete_file"):
        await play(FileErrands(), ["DONE"], brief.task(0))


async def test_an_instance_that_is_used_again_remembers_nothing() -> None:
    env = unwrapped(agentenv.make("tools/files-v0"))
    task = first_task(env)
    await play(env, [sent(Call("write_file", {"path": "/x", "text": ""}))], task)
    assert (await play_oracle(env, task)).total == 1.0


async def test_arguments_of_a_call_are_compared_by_value() -> None:
    call = Call("f", {"a": 1, "b": [2]})
    assert call.same_as(ToolCall("", "f", '{ "b": [2], "a": 1 }'))
    assert not call.same_as(ToolCall("", "f", '{"a": 1}'))
    assert not call.same_as(ToolCall("", "g", '{"a": 1, "b": [2]}'))
    assert not call.same_as(ToolCall("", "f", "{"))
