"""MCP both ways: servers as an environment's tools (`env`, `client/`), and environments as servers (`server/`)."""

from __future__ import annotations

from agentenv.registry import EnvSpec

SPECS = (
    EnvSpec(
        id="mcp-v0",
        entry_point="agentenv.mcp.env:MCPTasks",
        description="Tasks of a file, to be done with the tools of MCP servers.",
        max_turns=30,
        tags=("tools", "multi-turn", "mcp"),
    ),
)
