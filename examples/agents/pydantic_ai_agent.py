"""(d) pydantic-ai."""

from __future__ import annotations

from openai import AsyncOpenAI
from pydantic_ai import Agent, UnexpectedModelBehavior, UsageLimitExceeded, UsageLimits
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from examples.agents.task import INSTRUCTIONS, MAX_TURNS, MODEL, calculator

AGENT = Agent(instructions=INSTRUCTIONS, tools=[calculator])

GAVE_UP = (UnexpectedModelBehavior, UsageLimitExceeded)
"""What ends an attempt that the model spoilt: too many turns, or arguments that stay invalid."""


async def solve(question: str, base_url: str) -> str:
    """The agent's answer to the question."""
    async with AsyncOpenAI(base_url=base_url, api_key="none") as client:
        model = OpenAIChatModel(MODEL, provider=OpenAIProvider(openai_client=client))
        result = await AGENT.run(question, model=model, usage_limits=UsageLimits(request_limit=MAX_TURNS))
    return result.output
