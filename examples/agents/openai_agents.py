"""(b) The OpenAI Agents SDK. It speaks the Responses API unless told otherwise, and so it does here."""

from __future__ import annotations

from openai import AsyncOpenAI

from agents import Agent, MaxTurnsExceeded, ModelBehaviorError, OpenAIProvider, RunConfig, Runner, function_tool
from examples.agents.task import INSTRUCTIONS, MAX_TURNS, MODEL, calculator

AGENT = Agent(name="Calculator", instructions=INSTRUCTIONS, model=MODEL, tools=[function_tool(calculator)])

GAVE_UP = (MaxTurnsExceeded, ModelBehaviorError)
"""What ends an attempt that the model spoilt: too many turns, or a tool that does not exist."""


async def solve(question: str, base_url: str) -> str:
    """The agent's answer to the question."""
    async with AsyncOpenAI(base_url=base_url, api_key="none") as client:
        config = RunConfig(model_provider=OpenAIProvider(openai_client=client), tracing_disabled=True)
        result = await Runner.run(AGENT, question, max_turns=MAX_TURNS, run_config=config)
    return str(result.final_output)
