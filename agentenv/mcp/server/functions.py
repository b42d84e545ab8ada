"""Plain `@tool` functions as a server's tools."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import mcp_types as types

from agentenv.errors import BoundaryError, ConfigError
from agentenv.mcp.server.content import blocks
from agentenv.messages import ToolCall
from agentenv.tools import Tool, ToolSet, function_tools


class FunctionTools:
    """What a server offers of a set of tools. Arguments are checked, and results shown, as in an environment."""

    instructions = ""
    revision = 0

    def __init__(self, tools: ToolSet) -> None:
        self._tools = tools

    def listed(self) -> list[types.Tool]:
        """All tools."""
        return [
            types.Tool(name=spec.name, description=spec.description, input_schema=dict(spec.parameters))
            for spec in self._tools.specs
        ]

    async def call(self, name: str, arguments: Mapping[str, Any]) -> types.CallToolResult:
        """The result of one call; whatever goes wrong is one too."""
        try:
            outcome = await self._tools.call(ToolCall("call", name, json.dumps(arguments)))
        except BoundaryError as error:
            return types.CallToolResult(content=blocks(f"Error: {error}"), is_error=True)
        return types.CallToolResult(content=blocks(outcome.message.content), is_error=outcome.error is not None)


def tools_of_file(sources: Sequence[str]) -> ToolSet:
    """The `@tool` functions of Python files or modules.

    Args:
        sources: each a path that ends in `.py`, or a module's name; `:name` after it takes one function alone.

    Raises:
        ConfigError: there is no such file, module or function, or it has no tools, or two of one name.
    """
    found: list[Tool] = []
    for source in sources:
        place, _, name = source.partition(":")
        module = _module(place)
        tools = function_tools(module)
        if name:
            tools = [tool for tool in tools if tool.spec.name == name or tool.function is getattr(module, name, None)]
        if not tools:
            raise ConfigError(f"{source} has no function marked with @tool")
        found += tools
    names = [tool.spec.name for tool in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"two tools are named {twice[0]!r}")
    return ToolSet(found)


def _module(place: str) -> ModuleType:
    try:
        if not place.endswith(".py"):
            return importlib.import_module(place)
        path = Path(place).expanduser().resolve()
        if not path.is_file():
            raise ConfigError(f"there is no file {place}")
        spec = importlib.util.spec_from_file_location(f"agentenv_tools_of_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    except ConfigError:
        raise
    except ModuleNotFoundError as error:
        raise ConfigError(f"{place} cannot be imported: {error}") from error
    except Exception as error:
        raise ConfigError(f"importing {place} raised {type(error).__name__}: {error}") from error
    return module
