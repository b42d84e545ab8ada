"""(a) A loop around the `openai` client, as in its own documentation."""

from __future__ import annotations

import json

from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from examples.agents.task import INSTRUCTIONS, MAX_TURNS, MODEL, calculator

TOOLS: list[ChatCompletionToolParam] = [
    {
        "type": "function",
        "function": {
            "name": "calculator",
            "description": "Calculates one operation on two whole numbers and returns the result.",
            "parameters": {
                "type": "object",
                "properties": {"expression": {"type": "string", "description": 'For example "12*34".'}},
                "required": ["expression"],
            },
        },
    }
]


class OutOfTurns(Exception):
    """The model went on calling the tool."""


GAVE_UP = (OutOfTurns,)
"""What ends an attempt that the model spoilt, as opposed to one that failed."""


async def solve(question: str, base_url: str) -> str:
    """The agent's answer to the question."""
    messages: list[ChatCompletionMessageParam] = [
        {"role": "system", "content": INSTRUCTIONS},
        {"role": "user", "content": question},
    ]
    async with AsyncOpenAI(base_url=base_url, api_key="none") as client:
        for _ in range(MAX_TURNS):
            completion = await client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS)
            message = completion.choices[0].message
            if not message.tool_calls:
                return message.content or ""
            messages.append(message.to_dict())  # type: ignore[arg-type]
            for call in message.tool_calls:
                if call.type == "function":
                    result = run(call.function.arguments)
                    messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    raise OutOfTurns(f"no answer after {MAX_TURNS} turns")


def run(arguments: str) -> str:
    try:
        return calculator(**json.loads(arguments))
    except (ValueError, TypeError) as error:
        return f"Error: {error}"
