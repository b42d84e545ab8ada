"""Customers: the scripted one, and one that a model plays, with all that can go wrong with it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import agentenv
from agentenv.env import Action
from agentenv.errors import EnvironmentFailure, ModelError, RegistryError
from agentenv.messages import Message, ToolCall, assistant
from agentenv.outcome import Boundary, Status
from agentenv.policy import Sampling, Session
from agentenv.policy.registry import make_policy
from agentenv.policy.scripted import CallablePolicy, ScriptedPolicy
from agentenv.resources import Resources
from agentenv.rollout import RolloutEngine, group_requests
from agentenv_tau2.env import CLOSING, Tau2
from agentenv_tau2.mock import Phone
from agentenv_tau2.rows import Instructions, Scenario
from agentenv_tau2.users import BorrowedPolicy, ModelledUser, ScriptedUser, Stop, Utterance
from agentenv_tau2.users.guidelines import GREETING, system_prompt
from agentenv_tau2.users.modelled import MAX_CALLS, SILENCE
from agentenv_tau2.users.scripted import in_first_person
from agentenv_tau2.world import Toolbox
from tests.environments.playing import call, play
from tests.support.mock_openai import ChatRequest, Fault, FaultRule, MockOpenAI, Reply
from tests.support.mock_openai import ToolCall as WireCall

SCENARIO = Scenario(
    persona="Terse.",
    instructions=Instructions(
        domain="retail",
        reason_for_call="You want your money back.",
        known_info="You are Mia.",
        unknown_info="You do not know your zip code.",
        task_instructions="Insist.",
    ),
)


@pytest.mark.parametrize(
    ("said", "answer", "stop"),
    [
        ("What is your name?", "I am Mia. I do not know my zip code.", None),
        ("Please confirm your email address.", "I am Mia. I do not know my zip code.", None),
        ("I will cancel order #W1. Shall I go ahead (yes/no)?", "Yes, please go ahead.", None),
        ("How can I help?", "I want my money back. Insist.", None),
        ("I am looking into it.", "Please go on with what I have asked for.", None),
        ("", "Please go on with what I have asked for.", None),
        ("It is done. Is there anything else?", "No, that is all. Thank you.", Stop.DONE),
        ("Goodbye!", "No, that is all. Thank you.", Stop.DONE),
        ("YOU ARE BEING TRANSFERRED TO A HUMAN AGENT.", "All right.", Stop.TRANSFER),
    ],
)
async def test_the_script_answers_by_what_it_is_asked(said: str, answer: str, stop: Stop | None) -> None:
    customer = ScriptedUser(SCENARIO, Toolbox())
    assert (await customer.open()).text == "I want my money back."
    assert await customer.answer(said) == Utterance(answer, stop)


@given(st.text(max_size=200))
def test_the_script_has_one_answer_to_any_words_and_always_the_same(said: str) -> None:
    async def twice() -> tuple[Utterance, Utterance]:
        return (
            await ScriptedUser(SCENARIO, Toolbox()).answer(said),
            await ScriptedUser(SCENARIO, Toolbox()).answer(said),
        )

    first, second = asyncio.run(twice())
    assert first == second
    assert first.text


def test_instructions_are_said_by_the_one_who_got_them() -> None:
    told = "You are Mia. You want your mug; you're sure that it is yours. Keep it to yourself."
    assert in_first_person(told) == "I am Mia. I want my mug; I'm sure that it is mine. Keep it to myself."


@given(st.text(alphabet="ab# \n", max_size=20), st.sampled_from(list(Stop)), st.text(alphabet="ab# \n", max_size=20))
def test_a_token_ends_the_conversation_wherever_it_stands_and_is_never_shown(
    before: str, stop: Stop, after: str
) -> None:
    found = Utterance.read(f"{before}{stop}{after}")
    assert found.stop is stop
    assert stop not in found.text


def test_a_model_is_told_the_scenario_and_how_to_end() -> None:
    prompt = system_prompt(SCENARIO, with_tools=False)
    for told in (
        "Terse.",
        "You want your money back.",
        "You are Mia.",
        "You do not know your zip code.",
        "Insist.",
        *Stop,
    ):
        assert told in prompt
    assert "tools of your own" not in prompt
    assert "tools of your own" in system_prompt(SCENARIO, with_tools=True)


def modelled(
    policy: Any, tools: Toolbox | None = None, past: Sequence[Message] = (), timeout: float = 5.0
) -> ModelledUser:
    return ModelledUser(
        policy, SCENARIO, tools or Toolbox(), past=past, sampling=Sampling(), session=Session("s", 0), timeout=timeout
    )


async def test_to_the_model_the_agents_words_are_a_users_and_its_own_an_assistants() -> None:
    seen: list[list[tuple[str, str]]] = []

    def reply(messages: Sequence[Message], *_: Any) -> str:
        seen.append([(message.role.value, message.text) for message in messages[1:]])
        return f"words {len(seen)}"

    customer = modelled(CallablePolicy(reply))
    await customer.open()
    await customer.answer("Who are you?")
    await customer.answer("")
    assert seen[-1] == [
        ("user", GREETING),
        ("assistant", "words 1"),
        ("user", "Who are you?"),
        ("assistant", "words 2"),
        ("user", SILENCE),
    ]


async def test_a_model_that_joins_later_knows_what_was_said_but_no_tool_calls() -> None:
    seen: list[tuple[str, str]] = []

    def reply(messages: Sequence[Message], *_: Any) -> str:
        seen.extend((message.role.value, message.text) for message in messages[1:])
        return "Go on."

    past = (agentenv.user("A mug, please."), assistant(None, ToolCall("1", "x", "{}")), assistant("Here it is."))
    await modelled(CallablePolicy(reply), past=past).open()
    assert seen == [("assistant", "A mug, please."), ("user", "Here it is.")]


async def test_a_model_may_use_the_customers_own_tools_before_it_speaks() -> None:
    phone = Phone()
    phone.add_notification("n1", "Look!")
    dismiss = assistant(None, ToolCall("1", "dismiss_notification", '{"notification_id": "n1"}'))
    customer = modelled(ScriptedPolicy([dismiss, "I have read it."]), phone)
    assert (await customer.open()).text == "I have read it."
    assert phone.assert_notification_status("n1", "read")


def _fails(messages: Sequence[Message], *_: Any) -> str:
    raise ModelError("the endpoint is gone")


async def _hangs(messages: Sequence[Message], *_: Any) -> str:
    await asyncio.sleep(60)
    return "late"


ONLY_CALLS = [assistant(None, ToolCall(str(at), "check_notifications", "{}")) for at in range(MAX_CALLS + 1)]


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        (CallablePolicy(_fails), "the endpoint is gone"),
        (CallablePolicy(_hangs), r"gave no answer in 0\.05 s"),
        (ScriptedPolicy([""]), "said nothing"),
        (ScriptedPolicy(["###STOP###"]), "ended before it had said anything"),
        (ScriptedPolicy(ONLY_CALLS), "only calls tools"),
    ],
)
async def test_a_model_that_cannot_play_is_a_failure_of_the_environment(policy: Any, why: str) -> None:
    with pytest.raises(EnvironmentFailure, match=why):
        await modelled(policy, Phone(), timeout=0.05).open()


async def test_a_turn_that_failed_has_not_happened() -> None:
    answers = iter(["Hello.", ModelError("gone"), "Here I am."])

    def reply(messages: Sequence[Message], *_: Any) -> str:
        answer = next(answers)
        if isinstance(answer, ModelError):
            raise answer
        return f"{answer} {len(messages)}"

    customer = modelled(CallablePolicy(reply))
    await customer.open()
    with pytest.raises(EnvironmentFailure):
        await customer.answer("Well?")
    assert (await customer.answer("Well?")).text == "Here I am. 4"


async def test_a_cancelled_turn_stays_cancelled() -> None:
    waiting = asyncio.create_task(modelled(CallablePolicy(_hangs)).open())
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_policies_are_shared_by_those_who_play_together_and_closed_with_them() -> None:
    async with Resources() as resources:
        with resources.active():
            one, other = BorrowedPolicy("noop", {}), BorrowedPolicy("noop", {})
            shared = await one.policy()
            assert await other.policy() is shared
            await one.close()
            assert await one.policy() is shared
    alone = BorrowedPolicy("noop", {})
    assert await alone.policy() is not shared
    await alone.close()
    with pytest.raises(RegistryError, match="nop"):
        await BorrowedPolicy("nop", {}).policy()


CANCEL = call("cancel_pending_order", '{"order_id": "#W1", "reason": "ordered by mistake"}')


def _customer(request: ChatRequest) -> str:
    """A model that says who it is, agrees, and stops when it is told the sum."""
    if request.last_text == GREETING:
        return "I want to cancel #W1."
    return "Thanks! ###STOP###" if "1,500.25" in request.last_text else "Yes."


async def test_a_model_behind_a_url_plays_the_customer(small: str) -> None:
    async with MockOpenAI(_customer) as server:
        sampling = {"temperature": 0.5, "max_tokens": 64, "seed": 7}
        env = Tau2("retail", small, user=f"openai:{server.base_url}", user_sampling=sampling)
        played = await play(env, ["May I?", CANCEL, "You get $1,500.25."])
        await env.close()
    assert played.opening[-1].text == "I want to cancel #W1."
    assert played.steps[0].observation.messages[0].text == "Yes."
    assert (played.total, played.last.info["user_stop"]) == (1.0, "###STOP###")
    bodies = [request.body for request in server.requests]
    assert len(bodies) == 3
    assert len({request.session for request in server.requests}) == 1
    assert all((body["temperature"], body["max_tokens"]) == (0.5, 64) for body in bodies)
    assert all("Be kind." not in str(body["messages"]) for body in bodies)
    assert all("tools" not in body for body in bodies)


async def test_a_model_behind_a_url_uses_the_customers_tools(tau2_data: str) -> None:
    def script(request: ChatRequest) -> Reply | str:
        if request.last_text == GREETING:
            return Reply(None, (WireCall("check_notifications"),))
        if "unread" in request.last_text:
            return "I have finished 'Test task'."
        if "updated" in request.last_text:
            return Reply(None, (WireCall("dismiss_notification", '{"notification_id": "notif_1"}'),))
        return "###STOP###"

    async with MockOpenAI(script) as server:
        env = Tau2("mock", tau2_data, user=f"openai:{server.base_url}")
        task = next(task for task in env.tasks("base") if task.id == "tau2-mock-update_task_with_user_tools")
        update = call("update_task_status", '{"task_id": "task_1", "status": "completed"}')
        played = await play(env, [update, "I have updated it."], task)
        await env.close()
    assert played.opening[-1].text == "I have finished 'Test task'."
    assert played.total == 1.0
    assert [tool["function"]["name"] for tool in server.requests[0].tools] == [
        "check_notifications",
        "dismiss_notification",
    ]


async def test_a_customer_that_cannot_be_reached_is_a_failure_of_the_environment(small: str) -> None:
    async with MockOpenAI(["x"]) as server:
        url = server.base_url
    env = Tau2("retail", small, user=f"openai:{url}", user_options={"budget": 0.1})
    with pytest.raises(EnvironmentFailure, match="cannot be opened"):
        await env.reset(seed=0)
    await env.close()


@pytest.mark.parametrize("fault", [Fault.UNAUTHORISED, Fault.BAD_REQUEST, Fault.NEVER_ANSWERS])
async def test_a_customer_that_dies_fails_its_own_episodes_and_never_pays_zero(small: str, fault: Fault) -> None:
    """One customer is played by a model that dies in the second turn, the other by one that lives."""
    agent = CallablePolicy(lambda messages, *_: CANCEL if len(messages) < 3 else "You get $1,500.25.")
    async with (
        MockOpenAI(_customer) as alive,
        MockOpenAI(_customer, faults=[FaultRule(fault, when=lambda request: request.call > 0)]) as dying,
    ):
        spec = agentenv.spec("tau2/retail-v0").with_kwargs(data=small, user_timeout=2.0)
        task = next(iter(spec.make().tasks("base")))
        requests = [
            request
            for iteration, server in enumerate((alive, dying))
            for request in group_requests(
                spec.with_kwargs(user=f"openai:{server.base_url}"), [task], siblings=3, iteration=iteration
            )
        ]
        async with RolloutEngine(agent) as engine:
            episodes = sorted(await engine.collect(requests), key=lambda episode: episode.key.iteration)
    assert [(episode.status, episode.reward) for episode in episodes[:3]] == [(Status.OK, 1.0)] * 3
    assert [(episode.status, episode.reward) for episode in episodes[3:]] == [(Status.ENV_ERROR, None)] * 3
    for episode in episodes[3:]:
        assert episode.failure is not None
        assert episode.failure.boundary is Boundary.ENVIRONMENT
        assert "simulated user" in episode.failure.message


async def test_any_policy_by_name_can_be_the_customer(small: str) -> None:
    assert make_policy("random").name == "random"
    env = Tau2("retail", small, user="random", user_options={"call_probability": 0.0})
    opening, _ = await env.reset(seed=3)
    assert opening.messages[-1].text
    result = await env.step(Action(assistant(CLOSING)))
    assert result.observation.messages[0].text
    await env.close()
