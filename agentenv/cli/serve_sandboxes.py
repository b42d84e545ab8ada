"""`agentenv sandbox serve`."""

from __future__ import annotations

import asyncio
import json as json_
import sys
from typing import TYPE_CHECKING, Any

import typer

from agentenv.cli.common import Setting, err, find_backend, out, settings_of, show_warnings
from agentenv.cli.serving import loop_factory, told_to_stop

if TYPE_CHECKING:
    from agentenv.sandbox import Limits, SandboxBackend
    from agentenv.sandbox.service import SandboxService, ServiceConfig


def add_to(sandbox: typer.Typer) -> None:
    sandbox.command("serve")(serve)


def serve(
    context: typer.Context,
    backend: str = typer.Option("local", help="Whose sandboxes, as in `agentenv list sandboxes`."),
    host: str = typer.Option("127.0.0.1", help="Where to listen; beyond this machine only with an API key."),
    port: int = typer.Option(8200, min=0, max=65535, help="0 takes a free one."),
    api_key: str | None = typer.Option(
        None, envvar="AGENTENV_SANDBOX_KEY", help="What callers must send as Authorization: Bearer KEY."
    ),
    max_running: int = typer.Option(64, min=1, help="Executions at a time."),
    max_queued: int = typer.Option(256, min=0, help="Executions that may wait; one more is refused with 429."),
    max_sandboxes: int = typer.Option(1024, min=1, help="Open at a time; one more is refused with 429."),
    lease: float = typer.Option(60.0, min=0.1, help="Seconds after which a sandbox nobody uses is closed."),
    max_body: int = typer.Option(32 * 2**20, min=1024, help="Bytes of one request."),
    json: bool = typer.Option(False, "--json", help="One line of JSON on standard output once it listens."),
) -> None:
    """Serve sandboxes over HTTP, so that programs can run away from the trainer, until Ctrl-C.

    Example: agentenv sandbox serve --backend.preload '["numpy"]' --limits.wall_seconds 30
    """
    settings = settings_of(context, backend="options of the backend", limits="limits of a sandbox")
    config = _config(
        host=host,
        port=port,
        api_key=api_key,
        max_running=max_running,
        max_queued=max_queued,
        max_sandboxes=max_sandboxes,
        lease=lease,
        max_body=max_body,
    )
    made = _backend(backend, settings["backend"], settings["limits"])
    show_warnings()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        closed = runner.run(_serve(made, config, json=json))
    err().print(f"[dim]stopped; {closed} open sandboxes closed[/dim]")


def _config(**options: Any) -> ServiceConfig:
    import pydantic

    from agentenv.errors import ConfigError
    from agentenv.sandbox.service import ServiceConfig

    try:
        return ServiceConfig(**options)
    except pydantic.ValidationError as error:
        raise ConfigError("; ".join(detail["msg"].removeprefix("Value error, ") for detail in error.errors())) from None


def _backend(name: str, options: list[Setting], limits: list[Setting]) -> SandboxBackend:
    return find_backend(name, options, limits=_limits(limits)) if limits else find_backend(name, options)


def _limits(settings: list[Setting]) -> Limits:
    from agentenv.config import load_config
    from agentenv.sandbox import Limits
    from agentenv.sandbox.service.wire import LimitsChoice

    choice = load_config(LimitsChoice, None, [f"{key}={text}" for key, text in settings])
    return Limits(**choice.model_dump(exclude_none=True))


async def _serve(backend: SandboxBackend, config: ServiceConfig, *, json: bool) -> int:
    """Serves until somebody wants it to end; how many sandboxes were open then."""
    from agentenv.sandbox.service import SandboxService

    async with SandboxService(backend, config) as service:
        _announce(service, json=json)
        await told_to_stop()
        return service.state.leases.occupied


def _announce(service: SandboxService, *, json: bool) -> None:
    from rich.text import Text

    url, view = service.url, service.state.view()
    if json:
        sys.stdout.write(json_.dumps({"url": url, **view.model_dump(mode="json")}) + "\n")
        sys.stdout.flush()
        return
    key = " -H 'Authorization: Bearer KEY'" if service.config.api_key is not None else ""
    body = """-d '{"code": "print(6 * 7)", "language": "python"}'"""
    lines = {
        "Python": f'RemoteSandboxes("{url}")',
        "curl": f"curl {url}/run_code{key} {body}",
        "schema": f"{url}/openapi.json",
        "metrics": f"{url}/metrics",
    }
    served = f"{view.backend} sandboxes ({view.isolation.value})"
    out().print(Text.assemble((served, "cyan"), " are served at ", (url, "bold")), soft_wrap=True)
    for name, line in lines.items():
        out().print(Text.assemble((f"  {name:<8}", "dim"), line), soft_wrap=True)
    limits = f"at most {view.max_running} executions at a time, {view.max_queued} waiting"
    lease = f"a sandbox that nobody uses for {view.lease:g} s is closed"
    err().print(f"[dim]{limits}; {lease}; Ctrl-C closes all[/dim]", soft_wrap=True)
