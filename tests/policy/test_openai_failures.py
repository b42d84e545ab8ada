from __future__ import annotations

import asyncio
import email.utils
import random
import time

import pytest
from aiohttp import web

from agentenv.errors import ContextLengthError, ModelError
from agentenv_openai import OpenAIPolicy
from agentenv_openai.retry import Retry, Tries, retry_after
from tests.policy.openai_support import TOKENS, Clock, always, ask, completion_body, endpoint
from tests.support.mock_openai import ChatRequest, Fault, FaultRule, MockOpenAI

PASSING = [
    Fault.RATE_LIMITED,
    Fault.RATE_LIMITED_RETRY_AFTER,
    Fault.SERVER_ERROR,
    Fault.CONNECTION_CUT,
    Fault.STREAM_CUT,
    Fault.MALFORMED_JSON,
    Fault.WRONG_CONTENT_TYPE,
]


@pytest.mark.parametrize("fault", PASSING)
async def test_a_passing_fault_is_tried_again(fault: Fault) -> None:
    clock = Clock()
    async with (
        MockOpenAI(["fine"], faults=[FaultRule(fault, first_calls=2)]) as server,
        OpenAIPolicy(server.base_url, retry=clock.retry()) as policy,
    ):
        completion = await ask(policy)
    assert (completion.message.text, completion.attempts) == ("fine", 3)
    assert len(clock.pauses) == 2


async def test_silence_ends_with_the_timeout_and_is_tried_again() -> None:
    async with (
        MockOpenAI(["fine"], faults=[FaultRule(Fault.NEVER_ANSWERS, first_calls=1)]) as server,
        OpenAIPolicy(server.base_url, timeout=0.1, retry=Clock().retry()) as policy,
    ):
        assert (await ask(policy)).attempts == 2


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault.SERVER_ERROR, r"status 500 after 3 attempts in [\d.]+ s: The server had an error"),
        (Fault.CONNECTION_CUT, "no usable answer after 3 attempts.*ServerDisconnected|Connection"),
        (Fault.STREAM_CUT, "no usable answer after 3 attempts.*Payload"),
        (Fault.MALFORMED_JSON, "no usable answer after 3 attempts.*no JSON"),
        (Fault.WRONG_CONTENT_TYPE, "Bad gateway"),
        (Fault.NEVER_ANSWERS, "no answer in 0.05 s"),
    ],
)
async def test_a_lasting_fault_is_a_model_error_with_everything_in_it(fault: Fault, said: str) -> None:
    async with MockOpenAI(["never"], faults=[FaultRule(fault)]) as server:
        async with OpenAIPolicy(server.base_url, timeout=0.05, retry=Clock().retry(attempts=3)) as policy:
            with pytest.raises(ModelError, match=said) as caught:
                await ask(policy)
        assert f"{server.base_url}/chat/completions" in str(caught.value)
        assert server.stats.requests == 3


async def test_an_endpoint_that_only_says_429_is_given_up_too() -> None:
    async with (
        MockOpenAI(["never"], faults=[FaultRule(Fault.RATE_LIMITED)]) as server,
        OpenAIPolicy(server.base_url, retry=Clock().retry(rate_limited_attempts=5)) as policy,
    ):
        with pytest.raises(ModelError, match="status 429 after 5 attempts"):
            await ask(policy)
        assert policy.stats.rate_limited == 5


async def test_the_total_budget_ends_the_tries_before_their_number_does() -> None:
    clock = Clock()
    async with (
        MockOpenAI(["never"], faults=[FaultRule(Fault.SERVER_ERROR)]) as server,
        OpenAIPolicy(server.base_url, retry=clock.retry(attempts=1000, budget=60)) as policy,
    ):
        with pytest.raises(ModelError, match="status 500"):
            await ask(policy)
    assert 30 < clock.now < 60


async def test_an_aborted_generation_is_no_answer() -> None:
    bodies = [completion_body() | {"choices": [{"message": {"content": "ha"}, "finish_reason": "abort"}]}]

    async def chat(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response(bodies.pop() if bodies else completion_body())

    async with endpoint(chat) as url, OpenAIPolicy(url, retry=Clock().retry()) as policy:
        completion = await ask(policy)
    assert (completion.message.text, completion.attempts) == ("hi", 2)


async def test_a_conversation_too_long_is_a_context_length_error() -> None:
    async with MockOpenAI(["never"], faults=[FaultRule(Fault.BAD_REQUEST)]) as server:
        async with OpenAIPolicy(server.base_url) as policy:
            with pytest.raises(ContextLengthError, match="maximum context length is 8 tokens"):
                await ask(policy)
        assert server.stats.requests == 1


@pytest.mark.parametrize(
    ("status", "key", "said"),
    [
        (401, "", "No API key was sent; set OPENAI_API_KEY"),
        (401, "k", "The API key was refused"),
        (403, "k", "The API key was refused"),
        (404, "", "most servers want /v1"),
        (400, "", "would be refused again"),
    ],
)
async def test_a_refused_request_is_not_repeated_and_says_what_to_do(status: int, key: str, said: str) -> None:
    chat = always({"error": {"message": "No."}}, status)
    async with endpoint(chat) as url, OpenAIPolicy(url, api_key=key) as policy:
        with pytest.raises(ModelError, match=rf"status {status}: No\.\. {said}|status {status}: No\..*{said}"):
            await ask(policy)
        assert policy.stats.requests == 1


async def test_a_wrong_model_name_gets_the_nearest() -> None:
    chat = always({"error": {"message": "no such model"}}, 404)
    async with endpoint(chat, models=("qwen-3b", "llama")) as url, OpenAIPolicy(url, "qwen-3B") as policy:
        with pytest.raises(ModelError, match="Did you mean 'qwen-3b'"):
            await ask(policy)


async def test_an_endpoint_that_refuses_the_token_fields_is_asked_without_them_from_then_on() -> None:
    seen: list[set[str]] = []

    async def chat(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.json()
        seen.append({"return_token_ids", "return_weight_versions", "logprobs"} & set(body))
        for name in ("return_token_ids", "return_weight_versions"):
            if name in body:
                return web.json_response({"error": {"message": f"Unrecognized request argument: {name}"}}, status=400)
        return web.json_response(completion_body())

    async with endpoint(chat) as url, OpenAIPolicy(url, retry=Clock().retry()) as policy:
        assert (await ask(policy, sampling=TOKENS)).tokens is None
        assert (await ask(policy, sampling=TOKENS)).attempts == 1
    assert seen[-2:] == [{"logprobs"}, {"logprobs"}]


def test_retry_after_is_read_in_all_its_forms() -> None:
    assert retry_after({}) is None
    assert retry_after({"Retry-After": "2"}) == 2.0
    assert retry_after({"Retry-After-Ms": "250", "Retry-After": "9"}) == 0.25
    assert retry_after({"Retry-After": "soon"}) is None
    assert retry_after({"Retry-After": "-5"}) is None
    date = email.utils.formatdate(time.time() + 100, usegmt=True)
    assert retry_after({"Retry-After": date}) == pytest.approx(100, abs=5)


async def test_retry_after_is_honoured() -> None:
    clock = Clock()
    rule = FaultRule(Fault.RATE_LIMITED_RETRY_AFTER, first_calls=1, retry_after=12.5)
    async with (
        MockOpenAI(["fine"], faults=[rule]) as server,
        OpenAIPolicy(server.base_url, retry=clock.retry()) as policy,
    ):
        await ask(policy)
    assert clock.pauses == [12.5]


async def test_a_retry_after_beyond_the_budget_gives_up_at_once() -> None:
    clock = Clock()
    rule = FaultRule(Fault.RATE_LIMITED_RETRY_AFTER, retry_after=3600)
    async with (
        MockOpenAI(["never"], faults=[rule]) as server,
        OpenAIPolicy(server.base_url, retry=clock.retry(budget=600)) as policy,
    ):
        with pytest.raises(ModelError, match="status 429 after 1 attempts"):
            await ask(policy)
    assert clock.pauses == []


async def test_pauses_grow_twofold_and_are_jittered_up_to_the_longest() -> None:
    clock = Clock()
    async with MockOpenAI(["never"], faults=[FaultRule(Fault.SERVER_ERROR)]) as server:
        retry = clock.retry(attempts=8, first_pause=1.0, longest_pause=10.0)
        async with OpenAIPolicy(server.base_url, retry=retry) as policy:
            with pytest.raises(ModelError):
                await ask(policy)
    ceilings = [1, 2, 4, 8, 10, 10, 10]
    assert [ceiling / 2 <= pause <= ceiling for pause, ceiling in zip(clock.pauses, ceilings, strict=True)] == [
        True
    ] * 7
    assert len(set(clock.pauses)) == 7


async def test_the_pauses_do_not_touch_the_global_generator() -> None:
    before = random.getstate()
    async with (
        MockOpenAI(["fine"], faults=[FaultRule(Fault.SERVER_ERROR, first_calls=2)]) as server,
        OpenAIPolicy(server.base_url, retry=Clock().retry()) as policy,
    ):
        await ask(policy)
    assert random.getstate() == before


def test_waiting_for_admission_does_not_use_up_the_budget() -> None:
    now = [0.0]
    tries = Tries(Retry(budget=10, clock=lambda: now[0]), random.Random(0))
    now[0] = 500.0
    tries.queued += 497.0
    assert tries.left == pytest.approx(7.0)


async def test_a_cancelled_call_leaves_the_endpoint_and_the_limiter_free() -> None:
    arrived = asyncio.Event()

    def first_call(request: ChatRequest) -> bool:
        arrived.set()
        return request.call == 0

    rule = FaultRule(Fault.NEVER_ANSWERS, when=first_call)
    async with MockOpenAI(["fine"], faults=[rule]) as server, OpenAIPolicy(server.base_url, max_in_flight=1) as policy:
        async with asyncio.timeout(5):
            call = asyncio.create_task(ask(policy))
            await arrived.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert policy.stats.in_flight == 0
            assert (await ask(policy)).message.text == "fine"
