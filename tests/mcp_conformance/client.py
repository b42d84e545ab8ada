"""An environment that plays with a conformance scenario's server: it calls every tool once, as the scenario wants it.

python -m tests.mcp_conformance.client http://127.0.0.1:…
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import mcp_types

from agentenv.env import Action
from agentenv.mcp.client.connection import Question
from agentenv.mcp.env import MCPEnv
from agentenv.messages import ToolCall, assistant
from agentenv.tasks import Task
from agentenv.tools import ToolSpec

_EXAMPLES: dict[str, Any] = {"number": 5, "integer": 5, "boolean": True, "array": [], "object": {}}


class Player(MCPEnv):
    """Its user agrees to everything and fills nothing in."""

    async def answer(self, question: Question) -> mcp_types.ElicitResult:
        return mcp_types.ElicitResult(action="accept", content={})


def calls_for(scenario: str, tools: tuple[ToolSpec, ...]) -> list[tuple[str, dict[str, Any]]]:
    """Which calls a scenario expects."""
    if context := os.environ.get("MCP_CONFORMANCE_CONTEXT"):
        wanted = json.loads(context).get("toolCalls")
        if wanted:
            return [(call["name"], call["arguments"]) for call in wanted]
    schemas = {spec.name: dict(spec.parameters) for spec in tools}
    if scenario == "json-schema-2020-12-preservation":
        return [("json_schema_echo", {"schema": schemas["json_schema_2020_12_tool"]})]
    return [(name, _example(schema)) for name, schema in schemas.items()]


def _example(schema: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = schema.get("properties", {})
    return {name: _EXAMPLES.get(about.get("type"), "text") for name, about in properties.items()}


async def main() -> None:
    env = Player({"url": sys.argv[-1], "shared": False})
    opening, _ = await env.reset(task=Task.ask("conformance", "Call every tool."), seed=0)
    for name, arguments in calls_for(os.environ.get("MCP_CONFORMANCE_SCENARIO", ""), opening.tools):
        await env.step(Action(assistant(None, ToolCall("c", name, json.dumps(arguments)))))
    await env.close()


if __name__ == "__main__":
    asyncio.run(main())
