"""The calculator environment: what it asks, what it pays, and what it does not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import agentenv
from agentenv.env import Action
from agentenv.errors import ConfigError
from agentenv.messages import Message, assistant
from agentenv.tasks import Task
from agentenv_calculator.env import Calculator
from agentenv_calculator.problems import Chain, Operator, evaluate
from tests.environments.playing import call, continue_oracle, play, play_oracle

CHAIN = Chain(12, ((Operator.TIMES, 34), (Operator.MINUS, 5))).task()  # 408, then 403
SINGLE = Chain(12, ((Operator.TIMES, 34),)).task()  # 408


def calculate(expression: str) -> Message:
    return call("calculator", json.dumps({"expression": expression}))


def test_a_task_is_worded_from_left_to_right_with_its_value_as_answer() -> None:
    assert CHAIN.question == "12 times 34, then minus 5"
    assert CHAIN.answer == 403
    assert CHAIN.data == {
        "level": 2,
        "first": 12,
        "steps": [["*", 34], ["-", 5]],
        "expressions": ["12*34", "408-5"],
        "values": [408, 403],
    }
    assert Chain.of(CHAIN) == Chain(12, ((Operator.TIMES, 34), (Operator.MINUS, 5)))


@settings(max_examples=60, deadline=None)
@given(level=st.integers(1, 10), seed=st.integers(0, 2**31))
async def test_the_oracle_earns_full_marks_at_every_level_within_the_turn_limit(level: int, seed: int) -> None:
    played = await play_oracle(agentenv.make("calculator-v0", level=level), seed=seed)
    assert played.total == 1.0
    assert played.last.terminated
    assert not played.last.truncated
    assert played.last.info["metrics"] == {
        "turns": level + 1,
        "tool_calls": level,
        "tool_errors": 0,
        "success": True,
    }


@pytest.mark.parametrize(
    "answer",
    [
        "",
        " ",
        "403 or 404",
        "The answer is 403",
        "403.",
        "403.0",
        "0403",
        "+403",
        "4 03",
        "403\n404",
        "-403",
        "404",
        "４０３",
    ],
)
async def test_an_answer_that_is_not_just_the_number_earns_nothing(answer: str) -> None:
    played = await play(Calculator(), [calculate("12*34"), calculate("408-5"), answer], CHAIN)
    assert played.total == 0.0
    assert played.last.terminated


async def test_white_space_around_the_number_is_tolerated() -> None:
    assert (await play(Calculator(), [calculate("12*34"), calculate("408-5"), " 403\n"], CHAIN)).total == 1.0


@pytest.mark.parametrize(
    "calls",
    [[], ["12*34"], ["408-5"], ["403+0"], ["12*34", "404-1-0"], ["408-5", "12*34"]],
)
async def test_a_right_guess_without_the_chain_of_results_earns_nothing(calls: list[str]) -> None:
    assert (await play(Calculator(), [*map(calculate, calls), "403"], CHAIN)).total == 0.0


async def test_a_right_guess_pays_when_the_tool_is_not_required() -> None:
    assert (await play(Calculator(require_tool=False), ["403"], CHAIN)).total == 1.0


@pytest.mark.parametrize("calls", [["34*12", "408-5"], ["12 * 34", "408 + -5"], ["1+1", "12*34", "9*9", "408-5"]])
async def test_detours_and_other_wordings_of_the_same_steps_are_fine(calls: list[str]) -> None:
    assert (await play(Calculator(), [*map(calculate, calls), "403"], CHAIN)).total == 1.0


async def test_an_echo_of_the_prompt_earns_nothing() -> None:
    assert (await play(Calculator(), [CHAIN.question], CHAIN)).total == 0.0


async def test_results_of_one_episode_are_worth_nothing_in_the_next() -> None:
    env = Calculator()
    await play(env, [calculate("12*34"), "408"], SINGLE)
    assert (await play(env, ["408"], SINGLE)).total == 0.0


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "12",
        "1+2+3",
        "(1+2)",
        "6/2",
        "2**9",
        "1.5*2",
        "1e9*2",
        "9" * 31 + "*2",
        "__import__('os')",
        "１+２",
        "1_0*2",
    ],
)
def test_the_calculator_refuses_all_but_one_operation_on_two_integers(expression: str) -> None:
    with pytest.raises(ValueError, match="one operation"):
        evaluate(expression)


@given(st.integers(-(10**14), 10**14), st.sampled_from("+-*"), st.integers(-(10**14), 10**14))
def test_the_calculator_agrees_with_python(left: int, sign: str, right: int) -> None:
    expected = {"+": left + right, "-": left - right, "*": left * right}[sign]
    assert evaluate(f"{left}{sign}{right}") == expected
    assert evaluate(f" {left} {sign} {right} ") == expected


async def test_a_refused_expression_is_an_observation_and_counted() -> None:
    played = await play(Calculator(), [calculate("1+2+3"), calculate("12*34"), "408"], SINGLE)
    assert "expected one operation" in played.steps[0].observation.messages[0].text
    assert played.total == 1.0
    assert played.last.info["metrics"]["tool_errors"] == 1


async def test_too_many_turns_truncate_and_earn_nothing() -> None:
    played = await play(agentenv.make("calculator-v0"), [calculate("1+1")] * 12, CHAIN)
    assert len(played.steps) == 11
    assert (played.last.terminated, played.last.truncated, played.total) == (False, True, 0.0)


async def test_the_same_seed_gives_the_same_task_and_another_seed_another() -> None:
    env = Calculator()
    ids = []
    for seed in (1, 1, 2):
        await env.reset(seed=seed)
        ids.append(env.task.id)
    assert ids[0] == ids[1] != ids[2]


def test_splits_are_disjoint_and_tasks_pure_in_their_index() -> None:
    env = Calculator()
    seen = {split: {task.question for task in env.tasks(split).head(300)} for split in ("train", "dev", "test")}
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["dev"]
    assert not seen["dev"] & seen["test"]
    assert env.tasks("test").task(17) == Calculator().tasks("test").task(17)
    assert env.tasks("test").task(17) != Calculator(seed=1).tasks("test").task(17)


def test_a_range_of_levels_is_drawn_from_end_to_end() -> None:
    levels = {task.data["level"] for task in Calculator(level=(2, 4)).tasks().head(100)}
    assert levels == {2, 3, 4}


@given(st.integers(0, 10_000))
@settings(max_examples=30)
def test_a_task_survives_a_round_trip_through_json(index: int) -> None:
    task = Calculator(level=(1, 5)).tasks().task(index)
    assert Task.from_json(task.to_json()) == task


async def test_a_system_prompt_comes_first_when_asked_for() -> None:
    observation, _ = await Calculator(system_prompt="Use the tool.").reset(task=CHAIN)
    assert [message.role for message in observation.messages] == ["system", "user"]
    observation, _ = await Calculator().reset(task=CHAIN)
    assert [message.role for message in observation.messages] == ["user"]


async def test_the_state_is_the_task_and_the_results_so_far() -> None:
    env = Calculator()
    await env.reset(task=CHAIN)
    before = env.state_key()
    await env.step(Action(calculate("1+2+3")))
    assert env.state_key() == before
    await env.step(Action(calculate("12*34")))
    assert env.state_key() != before
    other = Calculator()
    await play(other, [calculate("34*12")], CHAIN)
    assert other.state_key() == env.state_key()


@pytest.mark.parametrize("branch_at", range(6))
async def test_an_episode_branched_at_any_step_goes_on_the_same(branch_at: int) -> None:
    env, branch = Calculator(level=5), Calculator(level=5)
    await env.reset(seed=11)
    for _ in range(branch_at):
        await env.step(Action(env.oracle()))
    snapshot = env.snapshot()
    branch.restore(snapshot)
    first = await continue_oracle(env)
    again = await continue_oracle(branch)
    env.restore(snapshot)
    assert _visible(first) == _visible(again) == _visible(await continue_oracle(env))
    assert env.messages == branch.messages


async def test_a_restored_branch_does_not_share_results_with_the_trunk() -> None:
    env, branch = Calculator(), Calculator()
    await play(env, [calculate("12*34")], CHAIN)
    branch.restore(env.snapshot())
    await env.step(Action(calculate("408-5")))
    assert (await branch.step(Action(assistant("403")))).reward == 0.0
    assert (await env.step(Action(assistant("403")))).reward == 1.0


async def test_interleaved_episodes_do_not_disturb_each_other() -> None:
    alone = _visible((await play_oracle(Calculator(level=4), seed=5)).steps)
    left, right = Calculator(level=4), Calculator(level=4)
    await left.reset(seed=5)
    await right.reset(seed=5)
    steps: list[list[object]] = [[], []]
    for _ in range(5):
        for env, seen in zip((left, right), steps, strict=True):
            seen.append(await env.step(Action(env.oracle())))
    assert _visible(steps[0]) == _visible(steps[1]) == alone


async def test_progress_pays_each_step_its_share_and_the_answer_the_rest() -> None:
    # p = 0.4 over a chain of two: 0.2 for each step, 0.6 for the answer.
    played = await play(Calculator(progress=0.4), [calculate("12*34"), calculate("408-5"), assistant("403")], CHAIN)
    assert [step.reward for step in played.steps] == pytest.approx([0.2, 0.2, 0.6])
    assert played.last.info["metrics"]["success"]


async def test_a_wrong_step_or_one_done_before_is_no_progress_and_a_wrong_answer_no_success() -> None:
    said = [calculate("12*34"), calculate("12*34"), calculate("408+5"), assistant("413")]
    played = await play(Calculator(progress=0.4), said, CHAIN)
    assert [step.reward for step in played.steps] == pytest.approx([0.2, 0.0, 0.0, 0.0])
    assert not played.last.info["metrics"]["success"]


@pytest.mark.parametrize("progress", [-0.1, 1.0])
def test_progress_is_a_share_that_leaves_something_for_the_answer(progress: float) -> None:
    with pytest.raises(ConfigError, match="progress is the share"):
        Calculator(progress=progress)


@pytest.mark.parametrize("level", [0, 11, (2, 1), (0, 3), (1, 11)])
def test_a_level_that_makes_no_sense_is_refused(level: int | tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="level"):
        Calculator(level=level)


def _visible(steps: object) -> list[object]:
    """What a policy sees of steps, and their rewards; the seconds that tools took are left out."""
    return [step[:4] for step in steps]  # type: ignore[attr-defined]
