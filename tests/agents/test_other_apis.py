"""The frameworks over the API that is not their first choice, and streaming: the same answers, the same records."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

pytest.importorskip("agents")
pytest.importorskip("langgraph")
pytest.importorskip("pydantic_ai")

from agents import Agent, ModelSettings, OpenAIProvider, RunConfig, Runner, function_tool
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai.models.openai import OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider as PydanticProvider

from agentenv.gateway import CallStatus, Continuation, Gateway, Protocol
from examples.agents.task import INSTRUCTIONS, calculator
from tests.agents.conftest import rows_of

QUESTION = "7 times 8"


async def agents_over_chat(url: str) -> str:
    async with AsyncOpenAI(base_url=url, api_key="none") as client:
        provider = OpenAIProvider(openai_client=client, use_responses=False)
        config = RunConfig(model_provider=provider, tracing_disabled=True, model_settings=ModelSettings(temperature=0))
        agent = Agent(name="a", instructions=INSTRUCTIONS, model="tiny", tools=[function_tool(calculator)])
        return str((await Runner.run(agent, QUESTION, run_config=config)).final_output)


async def agents_streamed(url: str) -> str:
    async with AsyncOpenAI(base_url=url, api_key="none") as client:
        provider = OpenAIProvider(openai_client=client)
        config = RunConfig(model_provider=provider, tracing_disabled=True, model_settings=ModelSettings(temperature=0))
        agent = Agent(name="a", instructions=INSTRUCTIONS, model="tiny", tools=[function_tool(calculator)])
        run = Runner.run_streamed(agent, QUESTION, run_config=config)
        async for _ in run.stream_events():
            pass
        return str(run.final_output)


async def agents_remembered_by_the_server(url: str) -> str:
    async with AsyncOpenAI(base_url=url, api_key="none") as client:
        provider = OpenAIProvider(openai_client=client)
        config = RunConfig(model_provider=provider, tracing_disabled=True, model_settings=ModelSettings(temperature=0))
        agent = Agent(name="a", instructions=INSTRUCTIONS, model="tiny", tools=[function_tool(calculator)])
        run = await Runner.run(agent, QUESTION, run_config=config, auto_previous_response_id=True)
        return str(run.final_output)


async def langchain_over_responses(url: str) -> str:
    model = ChatOpenAI(model="tiny", base_url=url, api_key="none", temperature=0, use_responses_api=True)  # type: ignore[arg-type]
    return await _langchain(model, streaming=False)


async def langchain_streamed(url: str) -> str:
    model = ChatOpenAI(model="tiny", base_url=url, api_key="none", temperature=0)  # type: ignore[arg-type]
    return await _langchain(model, streaming=True)


async def _langchain(model: ChatOpenAI, *, streaming: bool) -> str:
    bound = model.bind_tools([tool(calculator)])
    messages: list[Any] = [SystemMessage(INSTRUCTIONS), HumanMessage(QUESTION)]
    for _ in range(4):
        if streaming:
            answer: Any = None
            async for chunk in bound.astream(messages):
                answer = chunk if answer is None else answer + chunk
        else:
            answer = await bound.ainvoke(messages)
        messages.append(answer)
        if not answer.tool_calls:
            return str(answer.text)
        messages += [ToolMessage(calculator(**call["args"]), tool_call_id=call["id"]) for call in answer.tool_calls]
    return ""


async def pydantic_ai_over_responses(url: str) -> str:
    async with AsyncOpenAI(base_url=url, api_key="none") as client:
        model = OpenAIResponsesModel("tiny", provider=PydanticProvider(openai_client=client))
        agent = PydanticAgent(model, instructions=INSTRUCTIONS, tools=[calculator])
        return (await agent.run(QUESTION, model_settings={"temperature": 0.0})).output


async def pydantic_ai_streamed(url: str) -> str:
    async with AsyncOpenAI(base_url=url, api_key="none") as client:
        model = OpenAIResponsesModel("tiny", provider=PydanticProvider(openai_client=client))
        agent = PydanticAgent(model, instructions=INSTRUCTIONS, tools=[calculator])
        async with agent.run_stream(QUESTION, model_settings={"temperature": 0.0}) as run:
            return await run.get_output()


RUNS: dict[Callable[[str], Awaitable[str]], Protocol] = {
    agents_over_chat: Protocol.CHAT,
    agents_streamed: Protocol.RESPONSES,
    agents_remembered_by_the_server: Protocol.RESPONSES,
    langchain_over_responses: Protocol.RESPONSES,
    langchain_streamed: Protocol.CHAT,
    pydantic_ai_over_responses: Protocol.RESPONSES,
    pydantic_ai_streamed: Protocol.RESPONSES,
}


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__)
async def test_it_answers_and_every_token_is_in_one_row(
    embedded: Gateway, run: Callable[[str], Awaitable[str]]
) -> None:
    answer = await run(f"{embedded.url}/sessions/one/v1")
    session = embedded.sessions.use("one")
    records = [session.record(call) for call in session.calls]
    assert records[0].answer is not None
    assert records[0].answer["tool_calls"]
    assert records[-1].answer == {"role": "assistant", "content": answer}
    assert [(record.protocol, record.status) for record in records] == [(RUNS[run], CallStatus.OK)] * 2
    assert records[0].continuation is Continuation.OPENING
    assert records[1].continuation in (Continuation.MERGED, Continuation.REALIGNED)
    (row,) = rows_of(embedded.sessions.episode(session))
    assert row.sampled == sum(len(record.tokens.sampled_ids) for record in records if record.tokens is not None)
