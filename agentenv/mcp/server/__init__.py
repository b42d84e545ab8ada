"""Environments and plain functions as MCP servers, over standard streams or HTTP."""

from agentenv.mcp.server.environment import EnvironmentTools
from agentenv.mcp.server.episodes import Episodes, EpisodesConfig
from agentenv.mcp.server.functions import FunctionTools, tools_of_file
from agentenv.mcp.server.serving import HTTPConfig, Offered, over_http, over_stdio, server_of

__all__ = [
    "EnvironmentTools",
    "Episodes",
    "EpisodesConfig",
    "FunctionTools",
    "HTTPConfig",
    "Offered",
    "over_http",
    "over_stdio",
    "server_of",
    "tools_of_file",
]
