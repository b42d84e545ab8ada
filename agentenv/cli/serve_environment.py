"""`agentenv serve environment`."""

from __future__ import annotations

import asyncio
import json as json_
import sys
from typing import TYPE_CHECKING, Any

import typer

from agentenv.cli.common import err, find_environment, out, program, settings_of, show_warnings
from agentenv.cli.serving import loop_factory, told_to_stop

if TYPE_CHECKING:
    from agentenv.gateway.environments import EnvironmentServer, ServerConfig
    from agentenv.registry import EnvSpec


def add_to(serve: typer.Typer) -> None:
    serve.command("environment")(environment)


def environment(
    context: typer.Context,
    id: str = typer.Argument(help="An environment's id, or path/to/file.py[:Class]."),
    host: str = typer.Option("127.0.0.1", help="Where to listen; beyond this machine only with an API key."),
    port: int = typer.Option(8100, min=0, max=65535, help="0 takes a free one."),
    api_key: str | None = typer.Option(
        None, envvar="AGENTENV_ENVIRONMENT_KEY", help="What callers must send as Authorization: Bearer KEY."
    ),
    max_sessions: int = typer.Option(1024, min=1, help="Open at a time; one more is refused, never queued."),
    lease: float = typer.Option(60.0, min=0.1, help="Seconds after which a session nobody uses is closed."),
    timeout: float = typer.Option(60.0, min=0.1, help="Seconds one reset or step may take."),
    max_body: int = typer.Option(16 * 2**20, min=1024, help="Bytes of one request."),
    answers: bool = typer.Option(False, "--answers", help="Serve the tasks' answers and the oracle too."),
    json: bool = typer.Option(False, "--json", help="One line of JSON on standard output once it listens."),
) -> None:
    """Serve an environment over HTTP and WebSocket, to any number of sessions, until Ctrl-C.

    Example: agentenv serve environment calculator-v0 --env.level 2
    """
    settings = settings_of(context, env="arguments of the environment")
    spec = find_environment(id, settings["env"])
    config = _config(
        host=host,
        port=port,
        api_key=api_key,
        max_sessions=max_sessions,
        lease=lease,
        environment_timeout=timeout,
        max_body=max_body,
        answers=answers,
    )
    show_warnings()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        closed = runner.run(_serve(spec, config, json=json))
    err().print(f"[dim]stopped; {closed} open sessions closed[/dim]")


def _config(**options: Any) -> ServerConfig:
    import pydantic

    from agentenv.errors import ConfigError
    from agentenv.gateway.environments import ServerConfig

    try:
        return ServerConfig(**options)
    except pydantic.ValidationError as error:
        raise ConfigError("; ".join(detail["msg"].removeprefix("Value error, ") for detail in error.errors())) from None


async def _serve(spec: EnvSpec, config: ServerConfig, *, json: bool) -> int:
    """Serves until somebody wants it to end; how many sessions were open then."""
    from agentenv.gateway.environments import EnvironmentServer

    async with EnvironmentServer(spec, config) as server:
        _announce(server, json=json)
        await told_to_stop()
        return server.sessions.occupied


def _announce(server: EnvironmentServer, *, json: bool) -> None:
    from rich.text import Text

    config, url = server.config, server.url
    if json:
        about = {"url": url, "environment": server.spec.id, "epoch": server.sessions.epoch, "lease": config.lease}
        sys.stdout.write(json_.dumps({**about, "max_sessions": config.max_sessions, "answers": config.answers}) + "\n")
        sys.stdout.flush()
        return
    key = " -H 'Authorization: Bearer KEY'" if config.api_key is not None else ""
    lines = {
        "Python": f'env = agentenv.make("{url}")',
        "shell": f"{program()} eval {url} --policy random -n 20",
        "curl": f"curl -X POST {url}/sessions{key} -H 'Content-Type: application/json' -d '{{}}'",
        "schema": f"{url}/openapi.json",
    }
    out().print(Text.assemble((server.spec.id, "cyan"), " is served at ", (url, "bold")), soft_wrap=True)
    for name, line in lines.items():
        out().print(Text.assemble((f"  {name:<7}", "dim"), line), soft_wrap=True)
    limits = f"at most {config.max_sessions} sessions; one that nobody uses for {config.lease:g} s is closed"
    err().print(f"[dim]{limits}; Ctrl-C closes all[/dim]")
    if config.answers:
        err().print("answers and the oracle's moves are served: whoever plays here can cheat", style="yellow")
