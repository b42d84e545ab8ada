"""The same task by hand over the two APIs that the gateway translates, with the clients of those who made them."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import openai
import pytest

from agentenv.gateway import CallStatus, Continuation, Gateway, Protocol
from examples.agents.task import INSTRUCTIONS, calculator
from tests.agents.conftest import rows_of

QUESTION = "7 times 8"
SCHEMA = {"type": "object", "properties": {"expression": {"type": "string"}}, "required": ["expression"]}
GREEDY = {"temperature": 0.0}


async def ask_anthropic(url: str, *, streaming: bool) -> str:
    """An agent on Anthropic's client."""
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    tools: Any = [{"name": "calculator", "description": "One operation.", "input_schema": SCHEMA}]
    request: Any = {"model": "tiny", "max_tokens": 64, "system": INSTRUCTIONS, "tools": tools, "extra_body": GREEDY}
    async with anthropic.AsyncAnthropic(base_url=url, api_key="none", max_retries=0) as client:
        for _ in range(4):
            if streaming:
                async with client.messages.stream(messages=messages, **request) as stream:
                    message = await stream.get_final_message()
            else:
                message = await client.messages.create(messages=messages, **request)
            uses = [block for block in message.content if block.type == "tool_use"]
            if not uses:
                assert message.stop_reason == "end_turn"
                return "".join(block.text for block in message.content if block.type == "text")
            assert message.stop_reason == "tool_use"
            messages.append({"role": "assistant", "content": message.content})
            results = [
                {"type": "tool_result", "tool_use_id": use.id, "content": calculator(**use.input)} for use in uses
            ]
            messages.append({"role": "user", "content": results})
    return ""


async def ask_responses(url: str, *, streaming: bool) -> str:
    """An agent on the Responses API that sends what is new only, and lets the server remember the rest."""
    tools: Any = [{"type": "function", "name": "calculator", "parameters": SCHEMA, "strict": True}]
    request: Any = {"model": "tiny", "instructions": INSTRUCTIONS, "tools": tools, **GREEDY}
    new: Any = QUESTION
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        for _ in range(4):
            if streaming:
                async with client.responses.stream(input=new, **request) as stream:
                    response: Any = await stream.get_final_response()
            else:
                response = await client.responses.create(input=new, **request)
            calls = [item for item in response.output if item.type == "function_call"]
            if not calls:
                return str(response.output_text)
            request["previous_response_id"] = response.id
            new = [
                {
                    "type": "function_call_output",
                    "call_id": call.call_id,
                    "output": calculator(**json.loads(call.arguments)),
                }
                for call in calls
            ]
    return ""


AGENTS = {Protocol.MESSAGES: ask_anthropic, Protocol.RESPONSES: ask_responses}


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("protocol", AGENTS)
async def test_an_agent_of_another_api_is_recorded_token_for_token(
    embedded: Gateway, protocol: Protocol, streaming: bool
) -> None:
    await check(embedded, protocol, streaming=streaming)


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("protocol", AGENTS)
async def test_so_it_is_in_front_of_a_real_vllm(behind_vllm: Gateway, protocol: Protocol, streaming: bool) -> None:
    await check(behind_vllm, protocol, streaming=streaming)


async def check(gateway: Gateway, protocol: Protocol, *, streaming: bool) -> None:
    answer = await AGENTS[protocol](f"{gateway.url}/sessions/one", streaming=streaming)
    session = gateway.sessions.use("one")
    records = [session.record(call) for call in session.calls]
    assert records[0].answer is not None
    assert records[0].answer["tool_calls"]
    assert records[-1].answer is not None
    assert records[-1].answer["content"] == answer != ""
    assert [record.protocol for record in records] == [protocol, protocol]
    assert [record.status for record in records] == [CallStatus.OK, CallStatus.OK]
    assert [record.continuation for record in records] == [Continuation.OPENING, Continuation.MERGED]
    first, second = (record.tokens for record in records)
    assert first is not None
    assert second is not None
    assert second.prompt_ids[: len(first.prompt_ids) + len(first.sampled_ids)] == first.prompt_ids + first.sampled_ids
    (row,) = rows_of(gateway.sessions.episode(session))
    assert row.sampled == len(first.sampled_ids) + len(second.sampled_ids)


async def test_each_client_gets_its_own_errors(embedded: Gateway) -> None:
    url = f"{embedded.url}/sessions/errors"
    async with (
        anthropic.AsyncAnthropic(base_url=url, api_key="none", max_retries=0) as claude,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        hello: Any = [{"role": "user", "content": "hello"}]
        with pytest.raises(anthropic.NotFoundError, match="nobody"):
            await claude.messages.create(model="nobody", max_tokens=8, messages=hello)
        with pytest.raises(openai.NotFoundError, match="nobody"):
            await client.responses.create(model="nobody", input="hello")
        with pytest.raises(anthropic.BadRequestError, match="prefill"):
            await claude.messages.create(
                model="tiny", max_tokens=8, messages=[*hello, {"role": "assistant", "content": "Hi, I"}]
            )
        with pytest.raises(openai.BadRequestError, match="resp_unknown") as refused:
            await client.responses.create(model="tiny", input="hello", previous_response_id="resp_unknown")
        assert refused.value.param == "previous_response_id"
        long = "x " * 2000
        with pytest.raises(anthropic.BadRequestError, match="context"):
            await claude.messages.create(model="tiny", max_tokens=8, messages=[{"role": "user", "content": long}])
        with pytest.raises(openai.BadRequestError, match="context"):
            await client.responses.create(model="tiny", input=long)
