"""One connection to one server."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar

import mcp_types as types
from mcp.client import Client, ClientRequestContext, InputRequiredRoundsExceededError
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from agentenv.clock import deadline
from agentenv.errors import AgentenvError, BoundaryError, ToolFailure
from agentenv.mcp.client.config import Server
from agentenv.tools import ToolError

MOST_PAGES = 100
"""Pages of a list; a server that has more of them is not heard to the end."""

T = TypeVar("T")
Page = TypeVar("Page", bound=types.PaginatedResult)

Question = types.ElicitRequestParams
Answerer = Callable[[Question], Awaitable[types.ElicitResult]]
"""Who answers when a server asks the user something in the middle of a call."""

_ANSWERER: ContextVar[Answerer | None] = ContextVar("agentenv_mcp_answerer", default=None)


class ServerLost(ToolFailure):
    """A server cannot be reached, or is no more."""


class Connection:
    """A connection, held by a task of its own: it may be used from any other, and outlives the one that opened it.

    Args:
        server: how it is spoken to. target: what `mcp.Client` connects to. why_lost: what is known of a server that is
            gone. free: frees what it runs in, when it is closed.

    Attributes:
        revision: how often the server has said that its tools are others now.
    """

    def __init__(
        self,
        server: Server,
        target: Any,
        *,
        why_lost: Callable[[], str] = lambda: "",
        free: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.server = server
        self.revision = 0
        self._target, self._why_lost, self._free = target, why_lost, free
        self._client: Client | None = None
        self._closing = asyncio.Event()
        self._holder: asyncio.Task[None] | None = None
        self._answerer: Answerer | None = None
        self._answer_failed: BoundaryError | None = None
        self._lost = False

    @property
    def usable(self) -> bool:
        """Whether it is open and the server is not known to be gone."""
        return self._client is not None and not self._lost and not self._why_lost()

    @property
    def has_resources(self) -> bool:
        """Whether the server says that it has any."""
        return self._client is not None and self._client.server_capabilities.resources is not None

    async def open(self) -> None:
        """Connects.

        Raises:
            ServerLost: the server cannot be reached, or says nothing for too long.
        """
        opened: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._holder = asyncio.create_task(self._hold(opened), name=f"agentenv-mcp-{self.server.name}")
        try:
            async with deadline(self.server.start_seconds):
                self._client = await asyncio.shield(opened)
        except TimeoutError:
            await self.close()
            raise self._failure(f"has not answered for {self.server.start_seconds:g} s") from None
        except Exception as error:
            await self.close()
            for own in (leaf for leaf in _leaves(error) if isinstance(leaf, AgentenvError)):
                raise own from error
            raise self._failure(f"cannot be used: {_words(error)}") from error
        except BaseException:
            await self.close()
            raise

    async def _hold(self, opened: asyncio.Future[Client]) -> None:
        client = Client(
            self._target,
            mode=self.server.protocol,
            elicitation_callback=self._answer,
            message_handler=self._heard,
            cache=None,
        )
        try:
            async with client:
                if not opened.done():
                    opened.set_result(client)
                await self._listen_until_closed(client)
        except Exception as error:
            if not opened.done():
                opened.set_exception(error)
                opened.exception()  # whoever opened it may have gone
        finally:
            self._lost = True

    async def _listen_until_closed(self, client: Client) -> None:
        """Since 2026-07-28 a server tells changes only to those who have asked to hear of them."""
        tools = client.server_capabilities.tools
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS or tools is None or not tools.list_changed:
            await self._closing.wait()
            return
        listening = asyncio.create_task(self._listen(client), name=f"agentenv-mcp-changes-{self.server.name}")
        try:
            await self._closing.wait()
        finally:
            listening.cancel()
            await asyncio.wait([listening])

    async def _listen(self, client: Client) -> None:
        # Whoever cannot be listened to is known by the answers to calls; what a stream misses, a later call shows.
        with contextlib.suppress(Exception):
            async with client.listen(tools_list_changed=True) as events:
                async for _ in events:
                    self.revision += 1

    async def close(self) -> None:
        """Ends it, and what the server runs in. Twice is fine."""
        holder, self._holder, self._client = self._holder, None, None
        self._closing.set()
        free, self._free = self._free, None
        try:
            if free is not None:
                await free()
        finally:
            if holder is not None:
                done, _ = await asyncio.wait([holder], timeout=self.server.start_seconds)
                if not done:
                    holder.cancel()
                    await asyncio.wait([holder])

    def answered_by(self, answerer: Answerer | None) -> None:
        """Who answers on this connection, where it is not shared."""
        self._answerer = answerer

    @contextlib.contextmanager
    def _answering(self, answerer: Answerer | None) -> Iterator[None]:
        token = _ANSWERER.set(answerer)
        try:
            yield
        finally:
            _ANSWERER.reset(token)

    async def tools(self) -> list[types.Tool]:
        """All tools the server has now.

        Raises:
            ServerLost: it is gone, or does not answer.
        """
        return [tool for page in await self._pages(Client.list_tools) for tool in page.tools]

    async def call(
        self, name: str, arguments: Mapping[str, Any], answerer: Answerer | None = None
    ) -> types.CallToolResult:
        """A call's result, whatever the server had to ask meanwhile. It has no time limit of its own.

        Args:
            answerer: of what it asks the user; without one, it hears that the user declines.

        Raises:
            ServerLost: the server is gone. ToolError: it refuses the call, or breaks the protocol.
        """
        client = self._opened()
        with self._answering(answerer), self._blamed():
            return await client.call_tool(name, dict(arguments))

    async def resources(self) -> list[types.Resource]:
        """What can be read. Raises as `tools`."""
        return [resource for page in await self._pages(Client.list_resources) for resource in page.resources]

    async def read(self, uri: str) -> types.ReadResourceResult:
        """A resource. Raises as `call`."""
        client = self._opened()
        with self._blamed():
            return await client.read_resource(uri)

    async def prompt(self, name: str, arguments: Mapping[str, str] | None = None) -> types.GetPromptResult:
        """A prompt, filled in. Raises as `tools`."""
        return await self._asked(lambda client: client.get_prompt(name, dict(arguments or {})))

    async def _pages(self, listed: Callable[..., Awaitable[Page]]) -> list[Page]:
        """A list that comes in pages; no more of them than a server that means well would have."""
        pages: list[Page] = []
        while len(pages) < MOST_PAGES:
            cursor = pages[-1].next_cursor if pages else None
            if pages and cursor is None:
                break
            pages.append(await self._asked(functools.partial(listed, cursor=cursor)))
        return pages

    async def _asked(self, request: Callable[[Client], Awaitable[T]]) -> T:
        """What the runtime itself asks: a server that cannot answer that is of no use."""
        client = self._opened()
        try:
            async with deadline(self.server.call_seconds):
                with self._blamed():
                    return await request(client)
        except TimeoutError:
            raise self._failure(f"has not answered for {self.server.call_seconds:g} s") from None
        except ToolError as error:
            raise self._failure(f"cannot be used: {error.content}") from error

    def _opened(self) -> Client:
        if self._client is None or self._lost:
            raise self._failure("is no more")
        return self._client

    @contextlib.contextmanager
    def _blamed(self) -> Iterator[None]:
        """Tells a server that is gone from a call that it refuses."""
        try:
            yield
        except MCPError as error:
            if self._answer_failed is not None:
                failed, self._answer_failed = self._answer_failed, None
                raise failed from error
            if error.code == types.CONNECTION_CLOSED or self._why_lost():
                self._lost = True
                raise self._failure("was lost") from error
            raise ToolError(f"Error: {error.message}") from error
        except AgentenvError:
            raise
        except InputRequiredRoundsExceededError as error:
            raise ToolError(f"Error: the server {self.server.name} asks without end") from error
        except BaseExceptionGroup as group:
            for own in (leaf for leaf in _leaves(group) if isinstance(leaf, BoundaryError)):
                raise own from group
            raise
        except (TimeoutError, asyncio.CancelledError):
            raise
        except Exception as error:
            if not self.usable:
                raise self._failure("was lost") from error
            raise ToolError(
                f"Error: the server {self.server.name} answers what is not allowed: {_words(error)}"
            ) from error

    def _failure(self, what: str) -> ServerLost:
        why = self._why_lost()
        return ServerLost(f"the MCP server {self.server.name} {what}" + (f" ({why})" if why else ""))

    async def _answer(self, context: ClientRequestContext, params: Question) -> types.ElicitResult | types.ErrorData:
        answerer = _ANSWERER.get() or self._answerer
        if answerer is None:
            return types.ElicitResult(action="decline")
        try:
            return _with_defaults(params, await answerer(params))
        except BoundaryError as error:  # a server of the older era would only hear that the request has failed
            self._answer_failed = error
            raise

    async def _heard(self, message: object) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self.revision += 1


def _with_defaults(question: Question, answer: types.ElicitResult) -> types.ElicitResult:
    """An accepted form, with the defaults of the fields that were left out."""
    if answer.action != "accept" or not isinstance(question, types.ElicitRequestFormParams):
        return answer
    fields: Mapping[str, Any] = question.requested_schema.get("properties", {})
    defaults = {name: field["default"] for name, field in fields.items() if "default" in field}
    return answer.model_copy(update={"content": {**defaults, **(answer.content or {})}})


def _leaves(error: BaseException) -> list[BaseException]:
    """An error itself, or those that its groups hold."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for one in error.exceptions for leaf in _leaves(one)]


def _words(error: BaseException) -> str:
    """An error in a line: of a group, its first member."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return " ".join(str(error).split())[:300] or type(error).__name__


@contextlib.asynccontextmanager
async def connected(connection: Connection) -> AsyncIterator[Connection]:
    """An open connection, for the length of a block."""
    await connection.open()
    try:
        yield connection
    finally:
        await connection.close()


__all__ = ["Answerer", "Connection", "Question", "ServerLost", "connected"]
