"""A world with one number, as an MCP server: what its benchmark calls. `python -m benchmarks.mcp_server PORT`."""

from __future__ import annotations

import sys
from collections import defaultdict

from mcp.server.mcpserver import MCPServer

server = MCPServer("counter", log_level="ERROR")
numbers: dict[str, int] = defaultdict(int)


@server.tool()
def add(amount: int, world: str = "") -> int:
    """Adds to the number of a world."""
    numbers[world] += amount
    return numbers[world]


if __name__ == "__main__":
    server.run("streamable-http", port=int(sys.argv[1]))
