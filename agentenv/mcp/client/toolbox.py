"""The tools of servers as an episode's tools: names that models may call, schemas without what they must not see."""

from __future__ import annotations

import asyncio
import inspect
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import mcp_types as types

from agentenv.arguments import Arguments, ArgumentsError, ArgumentsReader, SchemaError, SchemaReader
from agentenv.errors import AgentenvError
from agentenv.mcp.client.config import Handle
from agentenv.mcp.client.connection import Answerer, Connection, ServerLost
from agentenv.mcp.client.content import resource_content, result_content
from agentenv.tools import Content, Tool, ToolError, ToolSpec

_LONGEST_NAME = 64
_ODD = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True, slots=True)
class Bound:
    """A connection as one episode uses it.

    Attributes:
        handle: the value that tells this episode's calls from others', where the server wants one.
        answerer: of what the server asks the user.
    """

    connection: Connection
    handle: str | None = None
    answerer: Answerer | None = None

    @classmethod
    async def of(cls, connection: Connection, answerer: Answerer | None = None) -> Bound:
        """Begins an episode on a server.

        Raises:
            ServerLost: it is gone, or its tool that begins an episode fails or returns no handle.
        """
        wanted = connection.server.handle
        if wanted is None:
            return cls(connection, None, answerer)
        if wanted.open is None:
            return cls(connection, secrets.token_urlsafe(24), answerer)
        where = f"the MCP server {connection.server.name}: its tool {wanted.open!r}"
        try:
            async with asyncio.timeout(connection.server.call_seconds):
                result = await connection.call(wanted.open, wanted.arguments, answerer)
        except (ToolError, TimeoutError) as error:
            raise ServerLost(f"{where} begins no episode: {error or 'no answer in time'}") from error
        found = _field(result, wanted.field or wanted.argument)
        if result.is_error or not isinstance(found, str) or not found:
            raise ServerLost(f"{where} returns no handle: {str(result_content(result, 300))[:300]}")
        return cls(connection, found, answerer)

    async def end(self) -> None:
        """Tells the server that the episode is over, if it has a tool for that. A server that is gone need not know."""
        wanted = self.connection.server.handle
        if wanted is None or wanted.close is None or self.handle is None or not self.connection.usable:
            return
        try:
            async with asyncio.timeout(self.connection.server.call_seconds):
                await self.connection.call(wanted.close, {wanted.argument: self.handle})
        except (AgentenvError, TimeoutError):
            return

    async def tools(self) -> list[Tool]:
        """The server's tools as this episode sees them. Raises `ServerLost`."""
        server = self.connection.server
        hidden = {server.handle.open, server.handle.close} if server.handle else set()
        listed: dict[str, types.Tool] = {}
        for found in await self.connection.tools():
            # Of two tools with one name the protocol reaches only one; which is the server's secret.
            if found.name not in hidden and (server.tools is None or found.name in server.tools):
                listed.setdefault(found.name, found)
        tools = [self._tool(found) for found in listed.values()]
        if server.resources and self.connection.has_resources:
            tools += self._resource_tools()
        return tools

    def _tool(self, found: types.Tool) -> Tool:
        server, name = self.connection.server, found.name
        schema = _without(found.input_schema, server.handle)

        async def call(**arguments: Any) -> Content:
            injected = {server.handle.argument: self.handle} if server.handle and self.handle is not None else {}
            result = await self.connection.call(name, {**arguments, **injected}, self.answerer)
            content = result_content(result, server.longest_result)
            if result.is_error:
                raise ToolError(content)
            return content

        reader = _Guarded(_reader(schema), server.handle.argument if server.handle else None)
        spec = ToolSpec(speakable(name), inspect.cleandoc(found.description or ""), schema)
        return Tool(spec, call, reader, server.call_seconds, inline=False)

    def _resource_tools(self) -> list[Tool]:
        server = self.connection.server

        async def list_resources() -> Any:
            """Lists what can be read: the URI, name and description of each resource."""
            return [
                {"uri": str(found.uri), "name": found.name, "description": found.description}
                for found in await self.connection.resources()
            ]

        async def read_resource(uri: str) -> Content:
            """Reads a resource.

            Args:
                uri: as `list_resources` has it.
            """
            return resource_content(await self.connection.read(uri), server.longest_result)

        return [Tool.of(function, timeout=server.call_seconds) for function in (list_resources, read_resource)]


def together(tools: Iterable[tuple[str, Tool]]) -> list[Tool]:
    """The tools of several servers, no two of one name: a later one has its server's name before its own.

    Args:
        tools: each with the name of its server.
    """
    made: dict[str, Tool] = {}
    for server, tool in tools:
        name = tool.spec.name
        for candidate in _names(server, name):
            if candidate not in made:
                spec = ToolSpec(candidate, tool.spec.description, tool.spec.parameters)
                made[candidate] = tool if candidate == name else Tool(spec, *_rest(tool))
                break
    return list(made.values())


def speakable(name: str) -> str:
    """A tool's name as OpenAI's API takes it: letters, digits, - and _, at most 64.

    >>> speakable("files/read.text")
    'files_read_text'
    """
    return _ODD.sub("_", name)[:_LONGEST_NAME] or "tool"


def _names(server: str, name: str) -> Iterable[str]:
    yield name
    yield speakable(f"{server}_{name}")
    number = 2
    while True:
        suffix = f"_{number}"
        yield name[: _LONGEST_NAME - len(suffix)] + suffix
        number += 1


def _rest(tool: Tool) -> tuple[Callable[..., Any], ArgumentsReader, float, bool]:
    return tool.function, tool.reader, tool.timeout, tool.inline


class _Guarded:
    """Reads arguments, and refuses the one that only the runtime may give."""

    def __init__(self, reader: ArgumentsReader, reserved: str | None) -> None:
        self._reader, self._reserved = reader, reserved

    def read(self, raw: object) -> Arguments:
        if self._reserved is not None and isinstance(raw, dict) and self._reserved in raw:
            raise ArgumentsError(f"there is no argument {self._reserved!r}")
        return self._reader.read(raw)


class _AnyObject:
    """Arguments of a tool whose schema is none: the server itself will have to check them."""

    def read(self, raw: object) -> Arguments:
        if not isinstance(raw, dict):
            raise ArgumentsError(f"they must be an object, got {type(raw).__name__}")
        return Arguments(raw)


def _reader(schema: Mapping[str, Any]) -> ArgumentsReader:
    try:
        return SchemaReader(schema)
    except SchemaError:
        return _AnyObject()


def _without(schema: Mapping[str, Any], handle: Handle | None) -> dict[str, Any]:
    """A tool's schema without the argument that carries the handle."""
    shown = dict(schema)
    if handle is None or handle.argument not in shown.get("properties", {}):
        return shown
    shown["properties"] = {name: value for name, value in shown["properties"].items() if name != handle.argument}
    if "required" in shown:
        shown["required"] = [name for name in shown["required"] if name != handle.argument]
    return shown


def _field(result: types.CallToolResult, name: str) -> object:
    """A field of a structured result; or the whole text, where there is nothing else."""
    structured = result.structured_content
    if isinstance(structured, Mapping):
        return structured.get(name, structured.get("result"))
    texts = [block.text for block in result.content if isinstance(block, types.TextContent)]
    return texts[0].strip() if len(texts) == 1 else None
