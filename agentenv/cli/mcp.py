"""`agentenv mcp serve`: environments and functions as MCP servers."""

from __future__ import annotations

import asyncio
import contextlib
import json as json_
import os
import sys
from collections.abc import Coroutine, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from agentenv.cli.common import err, find_environment, out, settings_of, show_warnings
from agentenv.cli.serving import told_to_stop

if TYPE_CHECKING:
    from agentenv.mcp.server import Episodes, HTTPConfig, Offered
    from agentenv.rollout import Journal

TOOLS = "tools"


class Transport(StrEnum):
    """How a client reaches the server."""

    STDIO = "stdio"
    HTTP = "http"


def add_to(app: typer.Typer) -> None:
    mcp = typer.Typer(name="mcp", no_args_is_help=True, help="Environments and tools as MCP servers.")
    mcp.callback()(_group)
    mcp.command("serve")(serve)
    app.add_typer(mcp)


def _group() -> None:
    """Keeps `serve` a command of its own, though it is the only one."""


def serve(
    context: typer.Context,
    what: str = typer.Argument(help="An environment's id or path/to/file.py[:Class]; or `tools`, and where they are."),
    sources: list[str] = typer.Argument(None, help="After `tools`: files or modules with @tool functions[:name]."),
    transport: Transport = typer.Option(Transport.STDIO, help="stdio for one client that starts this; http for many."),
    host: str = typer.Option("127.0.0.1", help="Where to listen; beyond this machine only with an API key."),
    port: int = typer.Option(8300, min=0, max=65535, help="0 takes a free one."),
    api_key: str | None = typer.Option(
        None, envvar="AGENTENV_MCP_KEY", help="What callers must send as Authorization: Bearer KEY."
    ),
    score: bool = typer.Option(False, "--score", help="Offer a tool that says what an episode has earned."),
    max_episodes: int = typer.Option(256, min=1, help="Open at a time; one more is refused."),
    lease: float = typer.Option(600.0, min=0.1, help="Seconds after which an episode nobody plays is closed."),
    out_folder: Path | None = typer.Option(None, "--out", help="A folder for a journal of all episodes."),
    json: bool = typer.Option(False, "--json", help="With http: one line of JSON on standard output once it listens."),
) -> None:
    """Serve an environment, or plain functions, to any MCP client, until Ctrl-C.

    Example: agentenv mcp serve calculator-v0 --env.level 2 --score --transport http

    Example: agentenv mcp serve tools my_tools.py
    """
    from agentenv.errors import ConfigError, MissingExtraError

    try:
        import agentenv.mcp.server as server
    except ImportError as error:
        raise MissingExtraError("an MCP server", "mcp") from error
    settings = settings_of(context, env="arguments of the environment")
    config = _config(host=host, port=port, api_key=api_key)
    if what == TOOLS:
        if not sources or settings["env"] or score or out_folder:
            raise ConfigError(
                "agentenv mcp serve tools FILE.py … takes files or modules, and no options of environments"
            )
        with _quiet():
            functions = server.FunctionTools(server.tools_of_file(sources))
        asyncio.run(_to_the_end(_serve("agentenv tools", functions, transport, config, json=json)))
        return
    if sources:
        raise ConfigError(f"one environment is served at a time; what is {sources[0]!r}?")
    with _quiet():
        spec = find_environment(what, settings["env"])
    show_warnings()
    with _journal(out_folder) as journal:
        episodes = server.Episodes(spec, server.EpisodesConfig(most=max_episodes, lease=lease), journal)
        asyncio.run(_to_the_end(_play(episodes, transport, config, score=score, json=json), journal))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps standard output free for the protocol, or for the line of JSON, while other people's code is imported."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


@contextlib.contextmanager
def _journal(folder: Path | None) -> Iterator[Journal | None]:
    from agentenv.evaluate.protocol import JOURNAL
    from agentenv.rollout import Journal

    if folder is None:
        yield None
        return
    with Journal.open(folder / JOURNAL) as journal:
        yield journal


async def _to_the_end(serving: Coroutine[Any, Any, bool], journal: Journal | None = None) -> None:
    """Serves, and ends the process at once where its standard input is still read: that thread cannot be woken."""
    if await serving:
        if journal is not None:
            journal.close()
        sys.stdout.flush()
        os._exit(0)


async def _play(episodes: Episodes, transport: Transport, config: HTTPConfig, *, score: bool, json: bool) -> bool:
    from agentenv.mcp.server import EnvironmentTools

    async with contextlib.AsyncExitStack() as stack:
        with _quiet():
            await stack.enter_async_context(episodes)
            offered = EnvironmentTools(episodes, score=score, implicit=transport is Transport.STDIO)
            await offered.open()
        return await _serve(episodes.spec.id, offered, transport, config, json=json)


async def _serve(name: str, offered: Offered, transport: Transport, config: HTTPConfig, *, json: bool) -> bool:
    """Serves until the client leaves or somebody wants it to end; whether standard input is still read."""
    from agentenv.errors import ConfigError
    from agentenv.mcp.server import over_http, over_stdio, server_of

    made = server_of(name, offered)
    if transport is Transport.STDIO:
        serving = asyncio.create_task(over_stdio(made))
        stopping = asyncio.create_task(told_to_stop())
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not serving.done():
            return True
        await serving
        return False
    try:
        async with over_http(made, config) as url:
            if json:
                out().print(
                    json_.dumps({"url": url, "tools": [tool.name for tool in offered.listed()]}), soft_wrap=True
                )
            else:
                err().print(f"[bold]{name}[/bold] at {url}")
                err().print(f"[dim]tools: {', '.join(tool.name for tool in offered.listed())}; Ctrl-C ends it[/dim]")
            await told_to_stop()
            return False
    except OSError as error:
        raise ConfigError(f"{config.host}:{config.port} cannot be listened on: {error.strerror or error}") from error


def _config(**options: Any) -> HTTPConfig:
    import pydantic

    from agentenv.errors import ConfigError
    from agentenv.mcp.server import HTTPConfig

    try:
        return HTTPConfig(**options)
    except pydantic.ValidationError as error:
        raise ConfigError("; ".join(detail["msg"].removeprefix("Value error, ") for detail in error.errors())) from None
