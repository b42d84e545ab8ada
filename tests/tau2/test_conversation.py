"""The conversation: who speaks when, what the agent sees, what ends it, and what a wrong call is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import agentenv
from agentenv.env import Action, Env
from agentenv.errors import ConfigError, UnsupportedError
from agentenv.messages import Message, Role, ToolCall, assistant
from agentenv.registry import EnvSpec
from agentenv.tools import ToolErrorKind
from agentenv_tau2.env import CLOSING, HANDED_OVER, Tau2
from tests.environments.playing import call, continue_oracle, play, play_oracle
from tests.tau2.shop import TASKS, write_domain

CANCEL = call("cancel_pending_order", '{"order_id": "#W1", "reason": "ordered by mistake"}')
TELL = "You get $1,500.25 back. Is there anything else?"


async def test_the_agent_gets_its_policy_and_the_customer_speaks_first(small: str) -> None:
    env = Tau2("retail", small)
    opening, _ = await env.reset(seed=0)
    told, said = opening.messages
    assert told.role is Role.SYSTEM
    assert "Be kind." in told.text
    assert (said.role, said.text) == (Role.USER, "I want to cancel my order #W1, which I ordered by mistake.")
    assert len(opening.tools) == 16
    assert env.task.answer["communicate_info"] == ["1500.25"]
    assert all("1500.25" not in message.text for message in opening.messages)


async def test_calls_are_answered_by_tools_and_words_by_the_customer(small: str) -> None:
    talk: list[Message | str] = ["What is your name and zip code?", CANCEL, "Is that right? Please confirm.", TELL]
    played = await play(Tau2("retail", small), talk)
    answers = [step.observation.messages[0].text for step in played.steps[:-1]]
    assert answers[0] == "I am Ann Lee in zip code 11111. I do not remember my email address."
    assert json.loads(answers[1])["status"] == "cancelled"
    assert answers[2] == "Yes, please go ahead."
    assert [step.reward for step in played.steps] == [0, 0, 0, 1]
    assert played.last.terminated
    assert not played.last.truncated
    assert played.last.info["user_stop"] == "###STOP###"
    metrics = played.last.info["metrics"]
    assert {name: metrics[name] for name in ("database", "communicated", "unjudged")} == {
        "database": 1.0,
        "communicated": 1.0,
        "unjudged": 0,
    }
    assert "actions" not in metrics


@pytest.mark.parametrize(
    ("talk", "database", "communicated"),
    [
        ([TELL], 0.0, 1.0),
        ([CANCEL, CLOSING], 1.0, 0.0),
        ([CLOSING], 0.0, 0.0),
        ([call("cancel_pending_order", '{"order_id": "#W1", "reason": "no longer needed"}'), TELL], 0.0, 1.0),
        ([CANCEL, call("cancel_pending_order", '{"order_id": "#W4", "reason": "no longer needed"}'), TELL], 0.0, 1.0),
    ],
)
async def test_one_check_that_fails_is_no_reward(small: str, talk: Any, database: float, communicated: float) -> None:
    played = await play(Tau2("retail", small), talk)
    assert (played.ended, played.total) == (True, 0.0)
    metrics = played.last.info["metrics"]
    assert (metrics["database"], metrics["communicated"]) == (database, communicated)
    assert played.last.reward is not None
    assert [component.name for component in played.last.reward.components] == ["solved"]  # type: ignore[attr-defined]


async def test_what_is_written_beside_a_tool_call_was_not_said_to_the_customer(small: str) -> None:
    beside = assistant("You get 1500.25 back.", *CANCEL.tool_calls)
    played = await play(Tau2("retail", small), [beside, CLOSING])
    assert played.last.info["metrics"]["communicated"] == 0.0


@pytest.mark.parametrize(
    ("wrong", "kind", "said"),
    [
        (call("cancel_order", "{}"), ToolErrorKind.UNKNOWN_TOOL, "Did you mean 'cancel_pending_order'"),
        (call("get_order_details", "{}"), ToolErrorKind.INVALID_ARGUMENTS, "order_id: Field required"),
        (call("get_order_details", '{"order_id": "#W1", "x": 1}'), ToolErrorKind.INVALID_ARGUMENTS, "x: Extra"),
        (call("get_order_details", '{"order_id": [1]}'), ToolErrorKind.INVALID_ARGUMENTS, "valid string"),
        (call("get_order_details", "{order"), ToolErrorKind.INVALID_JSON, "not valid JSON"),
        (call("get_order_details", '"#W1"'), ToolErrorKind.INVALID_ARGUMENTS, "dictionary"),
        (
            call("cancel_pending_order", '{"order_id": "#W1", "reason": "bored"}'),
            ToolErrorKind.INVALID_ARGUMENTS,
            "'no longer needed' or 'ordered by mistake'",
        ),
        (call("get_order_details", '{"order_id": "#W8"}'), ToolErrorKind.RAISED, "no order #W8"),
    ],
)
async def test_a_wrong_call_is_an_observation_and_the_task_can_still_be_solved(
    small: str, wrong: Any, kind: ToolErrorKind, said: str
) -> None:
    played = await play(Tau2("retail", small), [wrong, CANCEL, TELL])
    first = played.steps[0]
    assert first.info["tools"][0]["error"] == kind.value
    assert said in first.observation.messages[0].text
    assert played.total == 1.0


async def test_the_oracle_goes_on_from_whatever_was_called_before(small: str) -> None:
    env = Tau2("retail", small)
    await env.reset(seed=0)
    for message in (call("nothing", "{x"), call("get_order_details", '["#W1"]'), assistant("One moment.")):
        await env.step(Action(message))
    steps = await continue_oracle(env)
    assert [len(step.observation.messages) for step in steps] == [1, 1, 0]
    assert steps[-1].reward == 1.0


async def test_several_calls_of_a_turn_are_made_in_their_order(small: str) -> None:
    first = ToolCall("a", "cancel_pending_order", '{"order_id": "#W1", "reason": "ordered by mistake"}')
    again = ToolCall("b", "cancel_pending_order", '{"order_id": "#W1", "reason": "no longer needed"}')
    played = await play(Tau2("retail", small), [assistant(None, first, again), TELL])
    assert [one["error"] for one in played.steps[0].info["tools"]] == [None, "raised"]
    assert played.total == 1.0


async def test_an_agent_that_never_ends_is_cut_off_without_a_reward(small: str) -> None:
    spec = agentenv.spec("tau2/retail-v0").with_kwargs(data=small).model_copy(update={"max_turns": 3})
    played = await play(spec.make(), ["Hm."] * 5)
    assert (len(played.steps), played.total, played.last.truncated, played.last.terminated) == (3, 0.0, True, False)
    assert [step.observation.messages[0].text for step in played.steps] == [
        "Please go on with what I have asked for."
    ] * 3


async def test_a_handed_over_customer_leaves(small: str) -> None:
    played = await play(Tau2("retail", small), [HANDED_OVER])
    assert played.last.info["user_stop"] == "###TRANSFER###"


async def test_rules_for_tools_hold_here_too(small: str) -> None:
    env = Tau2("retail", small, tool_rules={"without": ["calculate"], "max_invalid_calls": 1})
    opening, _ = await env.reset(seed=0)
    assert "calculate" not in [tool.name for tool in opening.tools]
    result = await env.step(Action(call("calculate", '{"expression": "1+1"}')))
    assert (result.truncated, result.info["stop_reason"]) == (True, "invalid_call_limit")
    with pytest.raises(ConfigError, match="no tool 'calculat'"):
        await Tau2("retail", small, tool_rules={"without": ["calculat"]}).reset(seed=0)


async def test_an_episode_can_be_branched(small: str) -> None:
    env = Tau2("retail", small)
    await env.reset(seed=0)
    await env.step(Action(CANCEL))
    there, key = env.snapshot(), env.state_key()
    assert (await env.step(Action(assistant(TELL)))).reward == 1.0

    branch = Tau2("retail", small)
    branch.restore(there)
    assert branch.state_key() == key
    await branch.step(Action(call("cancel_pending_order", '{"order_id": "#W4", "reason": "no longer needed"}')))
    assert (await branch.step(Action(assistant(TELL)))).reward == 0.0
    env.restore(there)
    assert (await env.step(Action(assistant(TELL)))).reward == 1.0


def test_an_episode_with_a_modelled_user_cannot_be_branched(small: str) -> None:
    with pytest.raises(UnsupportedError):
        Tau2("retail", small, user="noop").restore(None)  # type: ignore[arg-type]


async def test_an_instance_plays_one_episode_after_the_other(small: str) -> None:
    env = Tau2("retail", small)
    for _ in range(2):
        assert (await play_oracle(env)).total == 1.0
        assert (await play(env, [CLOSING])).total == 0.0


async def test_past_messages_are_shown_and_their_calls_were_made(tau2_data: str) -> None:
    env = Tau2("mock", tau2_data)
    task = next(task for task in env.tasks("base") if task.id == "tau2-mock-update_task_with_message_history")
    opening, _ = await env.reset(task=task, seed=0)
    assert [message.role.value for message in opening.messages] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]
    made, answered = opening.messages[2].tool_calls[0], opening.messages[3]
    assert (made.name, made.id) == ("create_task", answered.tool_call_id)
    assert env.world.changed == ("tasks/task_2", "users/user_1")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"domain": "airline"}, "no domain 'airline'"),
        ({"user_timeout": 0.0}, "must be positive"),
        ({"user_options": {"model": "x"}}, "takes no options"),
        ({"user": "noop", "user_sampling": {"heat": 1}}, "heat"),
        ({"user": "noop", "user_options": '{"model": 1}'}, "user_options is a table"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Tau2(**arguments)


async def test_a_task_of_another_domain_is_refused(small: str, tau2_data: str) -> None:
    task = next(iter(Tau2("mock", tau2_data).tasks("base")))
    with pytest.raises(ConfigError, match="not of the domain retail"):
        await Tau2("retail", small).reset(task=task, seed=0)


async def test_assertions_and_calls_are_checked_where_the_task_names_them(tmp_path: Path, tau2_data: str) -> None:
    env = Tau2("mock", tau2_data)
    tasks = {task.id.removeprefix("tau2-mock-"): task for task in env.tasks("base")}
    update = call("update_task_status", '{"task_id": "task_1", "status": "completed"}')
    solved = await play(env, [update, CLOSING], tasks["update_task_with_user_tools"])
    metrics = solved.last.info["metrics"]
    assert (solved.total, metrics["database"], metrics["actions"], metrics["assertions"]) == (1.0, 1.0, 1.0, 1.0)
    transfer = call("transfer_to_human_agents", '{"summary": "Wants everything deleted."}')
    assert (await play(env, [transfer, HANDED_OVER], tasks["impossible_task_1"])).total == 1.0
    silent = await play(env, [HANDED_OVER], tasks["impossible_task_1"])
    assert (silent.total, silent.last.info["metrics"]["actions"]) == (0.0, 0.0)
    create = call("create_task", '{"user_id": "user_1", "title": "Important Meeting", "description": null}')
    named = "create_task_1_with_env_assertions"
    assert (await play(env, [create, CLOSING], tasks[named])).last.info["metrics"]["assertions"] == 1.0
    assert (await play(env, [CLOSING], tasks[named])).last.info["metrics"]["assertions"] == 0.0


def judged(basis: list[str], **criteria: Any) -> list[dict[str, Any]]:
    return [{**TASKS[0], "evaluation_criteria": {"actions": [], "reward_basis": basis, **criteria}}]


async def _play(folder: Path, tasks: list[dict[str, Any]], talk: list[Any]) -> tuple[float, dict[str, float]]:
    env: Env = Tau2("retail", str(write_domain(folder, tasks)))
    played = await play(env, talk, next(iter(env.tasks("base"))))
    return played.total, played.last.info["metrics"]


async def test_texts_stand_in_for_sentences_that_only_a_model_could_judge(tmp_path: Path) -> None:
    sentence = {"nl_assertions": ["The agent should name the price."], "communicate_info": ["9.99"]}
    tasks = judged(["DB", "NL_ASSERTION"], **sentence)
    total, metrics = await _play(tmp_path / "said", tasks, ["It is $9.99. Anything else?"])
    assert (total, metrics["communicated"], metrics["unjudged"]) == (1.0, 1.0, 0)
    assert (await _play(tmp_path / "not said", tasks, [CLOSING]))[0] == 0.0


async def test_sentences_without_texts_are_left_out_and_counted(tmp_path: Path) -> None:
    tasks = judged(["DB", "NL_ASSERTION"], nl_assertions=["One.", "Two."])
    total, metrics = await _play(tmp_path, tasks, [CLOSING])
    assert (total, metrics["unjudged"]) == (1.0, 2)
    assert "communicated" not in metrics


async def test_texts_count_only_where_they_are_asked_for(tmp_path: Path) -> None:
    tasks = judged(["DB"], communicate_info=["9.99"])
    assert (await _play(tmp_path, tasks, [CLOSING]))[0] == 1.0


def test_the_environments_are_registered_as_data() -> None:
    for id in ("tau2/retail-v0", "tau2/mock-v0"):
        spec = agentenv.spec(id)
        assert EnvSpec.model_validate_json(spec.model_dump_json()) == spec
