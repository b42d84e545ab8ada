from __future__ import annotations

import threading

import pytest

from agentenv.chat import ChatEnv, Conversation
from agentenv.env import Action, Env, Info, Observation, StepResult, SyncEnv
from agentenv.errors import AgentenvError, ConfigError, UnsupportedError
from agentenv.messages import Message, ToolCall, assistant, user
from agentenv.rewards import reward
from agentenv.tasks import ListTasks, Task, TaskSet
from agentenv.tools import tool
from agentenv.wrappers import Limited, Transformed, Wrapper, as_async

TASKS = [Task.ask("six", "2 × 3?", answer="6"), Task.ask("eight", "2 × 4?", answer="8")]


class Products(ChatEnv):
    system_prompt = "Answer with a number."

    def tasks(self, split: str = "train") -> TaskSet:
        return ListTasks(TASKS)

    @tool(inline=True)
    def multiply(self, a: int, b: int) -> int:
        """Multiplies."""
        return a * b

    @reward
    def correct(self, completion: str, answer: str) -> float:
        return float(completion == answer)

    @reward(weight=-0.1)
    def cost(self, tool_calls: int) -> float:
        return tool_calls

    def oracle(self) -> Message:
        return assistant(self.task.answer)


class Echo(SyncEnv):
    """Answers with the name of the thread it runs in; ends on 'stop'."""

    def tasks(self, split: str = "train") -> TaskSet:
        return ListTasks(TASKS)

    def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        self.begin(task, seed)
        self.closed = False
        return Observation((user(threading.current_thread().name),)), {}

    def step(self, action: Action) -> StepResult:
        return StepResult(Observation((user("more"),)), 1.0, action.message.text == "stop", False, {})

    def close(self) -> None:
        self.closed = True


def call(arguments: str) -> Action:
    return Action(assistant(None, ToolCall("c1", "multiply", arguments)))


def say(text: str) -> Action:
    return Action(assistant(text))


async def test_an_episode_of_tool_use_and_a_scored_answer() -> None:
    env = Products()
    observation, _ = await env.reset(task=TASKS[0], seed=1)
    assert [message.text for message in observation.messages] == ["Answer with a number.", "2 × 3?"]
    assert [spec.name for spec in observation.tools] == ["multiply"]

    result = await env.step(call('{"a": 2, "b": 3}'))
    assert result.observation.messages[0].text == "6"
    assert (result.reward, result.terminated, result.truncated) == (0.0, False, False)

    result = await env.step(say("6"))
    assert result.reward == pytest.approx(0.9)
    assert result.terminated
    assert result.info["metrics"] == {"turns": 2, "tool_calls": 1, "tool_errors": 0}


class Chatter(ChatEnv):
    def tasks(self, split: str = "train") -> TaskSet:
        return ListTasks(TASKS)


async def test_a_conversation_nobody_scores_is_unscored_and_not_worth_zero() -> None:
    env = Chatter()
    await env.reset(task=TASKS[0], seed=1)
    result = await env.step(say("6"))
    assert result.terminated
    assert result.reward is None


async def test_a_reset_forgets_the_last_episode() -> None:
    env = Products()
    await env.reset(task=TASKS[0], seed=1)
    await env.step(call('{"a": "x"}'))
    await env.reset(task=TASKS[1], seed=1)
    result = await env.step(say("8"))
    assert result.reward == 1.0
    assert result.info["metrics"] == {"turns": 1, "tool_calls": 0, "tool_errors": 0}


async def test_without_a_task_the_seed_chooses_one() -> None:
    chosen = {}
    for seed in range(20):
        env = Products()
        await env.reset(seed=seed)
        chosen[seed] = env.task.id
        await env.reset(seed=seed)
        assert env.task.id == chosen[seed]
    assert set(chosen.values()) == {"six", "eight"}


async def test_generators_belong_to_the_episode() -> None:
    one, other = Products(), Products()
    await one.reset(task=TASKS[0], seed=3)
    await other.reset(task=TASKS[0], seed=3)
    drawn = [one.rng.random() for _ in range(5)]
    assert drawn == [other.rng.random() for _ in range(5)]
    assert one.numpy_rng.random() == other.numpy_rng.random()


def test_an_environment_used_before_reset_says_what_is_missing() -> None:
    with pytest.raises(AgentenvError, match=r"reset\(\) must call self.begin"):
        _ = Products().rng


def test_optional_capabilities_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match="Echo has no oracle"):
        Echo().oracle()
    with pytest.raises(UnsupportedError, match="Echo cannot be snapshotted"):
        Echo().snapshot()


async def test_a_synchronous_environment_runs_off_the_loop() -> None:
    inner = Echo()
    env = as_async(inner)
    observation, _ = await env.reset(task=TASKS[0], seed=4)
    assert observation.messages[0].text != threading.current_thread().name
    assert (await env.step(say("stop"))).terminated
    await env.close()
    assert inner.closed
    assert (env.task, env.seed) == (TASKS[0], 4)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"max_turns": 2}, "turn_limit"),
        ({"max_tool_calls": 2}, "tool_call_limit"),
    ],
)
async def test_a_limit_truncates_and_says_which(limits: dict[str, int], reason: str) -> None:
    env = Limited(Products(), **limits)
    await env.reset(task=TASKS[0], seed=1)
    assert not (await env.step(call('{"a": 2, "b": 3}'))).truncated
    result = await env.step(call('{"a": 2, "b": 3}'))
    assert (result.terminated, result.truncated) == (False, True)
    assert result.info["stop_reason"] == reason
    await env.reset(task=TASKS[0], seed=1)
    assert not (await env.step(call('{"a": 2, "b": 3}'))).truncated


class Restorable(Products):
    """Its whole state is the conversation."""

    def snapshot(self) -> Conversation:
        return self.conversation

    def restore(self, snapshot: Conversation) -> None:
        self.begin(TASKS[0], 1)
        self.conversation = snapshot


async def test_a_branch_has_the_turns_left_that_the_original_had() -> None:
    env = Limited(Restorable(), max_turns=2)
    await env.reset(task=TASKS[0], seed=1)
    await env.step(call('{"a": 2, "b": 3}'))
    branch = Limited(Restorable(), max_turns=2)
    branch.restore(env.snapshot())
    assert (await branch.step(call('{"a": 2, "b": 3}'))).truncated


async def test_an_answer_on_the_last_turn_terminates_and_is_not_truncated() -> None:
    env = Limited(Products(), max_turns=1)
    await env.reset(task=TASKS[0], seed=1)
    result = await env.step(say("6"))
    assert (result.terminated, result.truncated) == (True, False)


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        Limited(Products(), max_turns=0)


async def test_transformations_apply_on_the_way_in_and_out() -> None:
    env = Transformed(
        Products(),
        action=lambda action: Action(assistant(action.message.text.strip())),
        reward=lambda value: None if value is None else 10 * value,
    )
    await env.reset(task=TASKS[0], seed=1)
    assert (await env.step(say("  6 "))).reward == 10.0


async def test_a_wrapper_sees_what_the_inner_environment_changes_later() -> None:
    inner = Products()
    env: Env = Wrapper(Limited(inner, max_turns=3))
    await env.reset(task=TASKS[0], seed=1)
    await inner.reset(task=TASKS[1], seed=2)
    assert (env.task.id, env.seed) == ("eight", 2)
    assert env.oracle().text == "8"
    assert env.unwrapped is inner
