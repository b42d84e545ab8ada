"""Serving tools: one `mcp` server for both eras of the protocol, over standard streams or streamable HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Protocol

import mcp_types as types
import pydantic
import uvicorn
from mcp import MCPError
from mcp.server import ServerRequestContext
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged
from mcp.server.transport_security import TransportSecuritySettings

import agentenv
from agentenv.addresses import is_loopback, url_of

PATH = "/mcp"
_CHANGES = NotificationOptions(tools_changed=True)


class Offered(Protocol):
    """What is served. `revision` grows when the list has changed."""

    revision: int

    @property
    def instructions(self) -> str: ...

    def listed(self) -> list[types.Tool]:
        """All tools there are now."""
        ...

    async def call(self, name: str, arguments: Mapping[str, Any]) -> types.CallToolResult:
        """The result of one call."""
        ...


class HTTPConfig(pydantic.BaseModel):
    """Where to listen, and for whom.

    Attributes:
        host: beyond this machine only with an `api_key`. port: 0 takes a free one.
        api_key: what callers must send as `Authorization: Bearer KEY`.
        max_body: bytes of one request.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = pydantic.Field(default=8300, ge=0, le=65535)
    api_key: str | None = None
    max_body: int = pydantic.Field(default=4 * 2**20, ge=1024)

    @pydantic.model_validator(mode="after")
    def _private(self) -> HTTPConfig:
        if not is_loopback(self.host) and not self.api_key:
            raise ValueError(f"listening on {self.host}, beyond this machine, takes an API key")
        return self


def server_of(name: str, offered: Offered) -> Server[Any]:
    """The `mcp` server of what is offered."""
    changes = InMemorySubscriptionBus()
    tell = _Teller(offered, changes)

    async def list_tools(
        _: ServerRequestContext[Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        if params is not None and params.cursor is not None:
            raise MCPError(types.INVALID_PARAMS, "there is one page of tools, so no cursor leads to another")
        return types.ListToolsResult(tools=offered.listed(), ttl_ms=0)

    async def call_tool(
        context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        result = await offered.call(params.name, params.arguments or {})
        await tell.changed(context)
        return result

    return Server(
        name,
        version=agentenv.__version__,
        instructions=offered.instructions or None,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_subscriptions_listen=ListenHandler(changes),
    )


class _Teller:
    """Tells clients of a list that has changed: those of the older era, and those who listen."""

    def __init__(self, offered: Offered, changes: InMemorySubscriptionBus) -> None:
        self._offered, self._changes, self._told = offered, changes, offered.revision

    async def changed(self, context: ServerRequestContext[Any]) -> None:
        if self._told == self._offered.revision:
            return
        self._told = self._offered.revision
        await self._changes.publish(ToolsListChanged())
        with contextlib.suppress(Exception):  # a client of this era cannot be told so, or has gone
            await context.session.send_tool_list_changed()


async def over_stdio(server: Server[Any]) -> None:
    """Serves one client over this process's standard streams, until it closes them."""
    async with stdio_server() as (read, write):
        # The SDK leads file descriptor 1 elsewhere meanwhile; what is printed would stay in Python's buffer until then.
        with contextlib.redirect_stdout(sys.stderr):
            await server.run(read, write, server.create_initialization_options(_CHANGES))


@contextlib.asynccontextmanager
async def over_http(server: Server[Any], config: HTTPConfig) -> AsyncIterator[str]:
    """Serves any number of clients over streamable HTTP for the length of a block; gives the URL.

    Raises:
        OSError: the address cannot be listened on.
    """
    app: Any = server.streamable_http_app(
        streamable_http_path=PATH, transport_security=_known_as(config.host), max_request_body_size=config.max_body
    )
    if config.api_key:
        app = _Guarded(app, config.api_key)
    logging.getLogger("mcp").setLevel(logging.WARNING)
    listening = _listen(config.host, config.port)
    # h11, for httptools leaves the blanks around a header's value, which RFC 9110 says are no part of it.
    serving = _Quiet(uvicorn.Config(app, http="h11", log_level="error", lifespan="on", timeout_graceful_shutdown=2))
    task = asyncio.create_task(serving.serve(sockets=[listening]), name="agentenv-mcp-http")
    try:
        while not serving.started:
            if task.done():
                await task
                raise OSError("the HTTP server ended before it had begun")
            await asyncio.sleep(0.01)
        yield url_of(config.host, listening.getsockname()[1]) + PATH
    finally:
        serving.should_exit = True
        await asyncio.wait([task])
        listening.close()


def _known_as(host: str) -> TransportSecuritySettings:
    """Who may ask. On this machine alone, pages of others may not, nor may names of others that lead to it."""
    if not is_loopback(host):
        return TransportSecuritySettings(enable_dns_rebinding_protection=False)
    names = {"127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host}
    return TransportSecuritySettings(
        allowed_hosts=[*names, *(f"{name}:*" for name in names)], allowed_origins=[f"http://{name}:*" for name in names]
    )


class _Quiet(uvicorn.Server):
    """Leaves signals to whoever serves."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError:
        listening.close()
        raise
    return listening


_App = Callable[[Any, Any, Any], Awaitable[None]]


class _Guarded:
    """An application for those who know the key."""

    def __init__(self, app: _App, key: str) -> None:
        self._app, self._wanted = app, f"Bearer {key}".encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self._wanted):
                headers = [(b"content-type", b"text/plain"), (b"www-authenticate", b"Bearer")]
                await send({"type": "http.response.start", "status": 401, "headers": headers})
                await send({"type": "http.response.body", "body": b"this server wants an API key"})
                return
        await self._app(scope, receive, send)
