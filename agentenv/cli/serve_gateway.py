"""`agentenv serve gateway`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json as json_
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from agentenv.cli.common import err, out, show_warnings
from agentenv.cli.serving import loop_factory, told_to_stop

if TYPE_CHECKING:
    from agentenv.gateway import Gateway, GatewayConfig
    from agentenv.gateway.statistics import GatewayStatistics
    from agentenv.rollout import Journal

_REFRESH_SECONDS = 1.0
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def add_to(serve: typer.Typer) -> None:
    serve.command("gateway")(gateway)


def gateway(
    upstreams: list[str] = typer.Argument(help="Base URLs of the model servers, all with the same model."),
    host: str = typer.Option("127.0.0.1", help="Where to listen; beyond this machine better with an API key."),
    port: int = typer.Option(8600, min=0, max=65535, help="0 takes a free one."),
    api_key: str = typer.Option("", envvar="AGENTENV_GATEWAY_KEY", help="What agents must present."),
    upstream_api_key: str = typer.Option("", envvar="AGENTENV_UPSTREAM_KEY", help="What the model servers want."),
    model: str | None = typer.Option(None, help="Ask for this model whatever name the agents have in their code."),
    run: Path | None = typer.Option(None, help="A run folder: every ended session becomes an episode of its journal."),
    journal: Path | None = typer.Option(None, help="The same for a journal file by itself."),
    lease: float = typer.Option(900.0, min=0.1, help="Seconds after which a session nobody uses is ended."),
    timeout: float = typer.Option(600.0, min=0.1, help="Seconds one call may take."),
    idle_timeout: float = typer.Option(120.0, min=0.1, help="Seconds of silence within a stream."),
    max_body: float = typer.Option(32.0, min=0.001, help="Megabytes of one request."),
    json: bool = typer.Option(False, "--json", help="A line of JSON once it listens, and one with the summary."),
) -> None:
    """Record what agents sample from a model server: an OpenAI and Anthropic endpoint that keeps every token.

    Agents change their base URL and nothing else; /sessions/NAME/v1 keeps the calls of one attempt together.

    Example: agentenv serve gateway http://127.0.0.1:8000/v1 --run runs/agents
    """
    from agentenv.errors import ConfigError
    from agentenv.gateway import GatewayConfig

    if run is not None and journal is not None:
        raise ConfigError("give --run or --journal, not both")
    config = GatewayConfig(
        upstreams,
        host=host,
        port=port,
        api_key=api_key,
        upstream_api_key=upstream_api_key,
        model=model,
        lease_seconds=lease,
        request_seconds=timeout,
        idle_seconds=idle_timeout,
        max_body_bytes=int(max_body * 1e6),
    )
    show_warnings()
    with _journal(run, journal) as opened, asyncio.Runner(loop_factory=loop_factory()) as runner:
        statistics = runner.run(_serve(config, opened, json=json))
        _summarise(statistics, opened, json=json)


@contextlib.contextmanager
def _journal(run: Path | None, file: Path | None) -> Iterator[Journal | None]:
    from agentenv.evaluate.protocol import JOURNAL
    from agentenv.rollout import Journal

    path = run / JOURNAL if run is not None else file
    if path is None:
        yield None
        return
    with Journal.open(path) as journal:
        yield journal


async def _serve(config: GatewayConfig, journal: Journal | None, *, json: bool) -> GatewayStatistics:
    from agentenv.gateway import Gateway
    from agentenv.rollout.collector import SHORT_LOOKS, rare_collections

    with rare_collections(SHORT_LOOKS):
        gc.freeze()  # what is loaded by now stays: no collection need walk it between a call and its answer
        gateway = Gateway(config, journal)
        async with gateway:
            await _until_stopped(gateway, journal, json=json)
    return gateway.statistics


async def _until_stopped(gateway: Gateway, journal: Journal | None, *, json: bool) -> None:
    from agentenv.gateway.fitness import warn_of_raw_logprobs

    gateway.router.require_one()
    _announce(gateway, journal, json=json)
    async with asyncio.TaskGroup() as group:
        beside = [group.create_task(warn_of_raw_logprobs(gateway.router, gateway.config.model))]
        if err().is_terminal and not json:
            beside.append(group.create_task(_watch(gateway)))
        await told_to_stop()
        for task in beside:
            task.cancel()


def _announce(gateway: Gateway, journal: Journal | None, *, json: bool) -> None:
    from rich.text import Text

    config, url = gateway.config, gateway.url
    replicas = [replica.health for replica in gateway.router.replicas]
    if json:
        shown = [{"url": one.url, "alive": one.alive, "problem": one.problem} for one in replicas]
        path = None if journal is None else str(journal.path)
        sys.stdout.write(json_.dumps({"url": url, "replicas": shown, "journal": path}) + "\n")
        sys.stdout.flush()
        return
    out().print(Text.assemble("the gateway listens at ", (url, "bold")), soft_wrap=True)
    for one in replicas:
        state = ("alive", "green") if one.alive else (one.problem, "red")
        out().print(Text.assemble(("  replica   ", "dim"), one.url, "  ", state), soft_wrap=True)
    key = "YOUR_KEY" if config.api_key else "none"
    lines = {
        "agents": f"OPENAI_BASE_URL={url}/sessions/NAME/v1 OPENAI_API_KEY={key}",
        "Claude": f"ANTHROPIC_BASE_URL={url}/sessions/NAME ANTHROPIC_API_KEY={key}",
        "journal": "none; --run FOLDER keeps the episodes" if journal is None else str(journal.path),
    }
    for name, line in lines.items():
        out().print(Text.assemble((f"  {name:<10}", "dim"), line), soft_wrap=True)
    if config.host not in _LOOPBACK:
        reach = "anybody who reaches this machine can use it" if not config.api_key else "it is reached from elsewhere"
        err().print(f"[yellow]listening on {config.host}: {reach}; there is no encryption[/yellow]")


async def _watch(gateway: Gateway) -> None:
    """One line that says what is going on, rewritten every second."""
    from rich.live import Live
    from rich.text import Text

    before, tokens = time.monotonic(), 0
    with Live(console=err(), transient=True, auto_refresh=False) as live:
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            now, statistics = time.monotonic(), gateway.statistics
            rate = (statistics.sampled_tokens - tokens) / (now - before)
            before, tokens = now, statistics.sampled_tokens
            alive = sum(replica.alive for replica in gateway.router.replicas)
            parts = [
                f"{len(gateway.sessions.open)} sessions open",
                _calls(statistics),
                f"{rate:,.0f} tokens/s",
                _drift(statistics),
                f"{alive}/{len(gateway.router.replicas)} replicas",
            ]
            live.update(Text(" · ".join(part for part in parts if part), style="dim"), refresh=True)


def _calls(statistics: GatewayStatistics) -> str:
    total = sum(statistics.calls.values())
    wrong = ", ".join(f"{count} {status.value}" for status, count in statistics.calls.items() if status != "ok")
    return f"{total} calls" + (f" ({wrong})" if wrong else "")


def _drift(statistics: GatewayStatistics, *, why: bool = False) -> str:
    """How later turns went on, and why some could not go on exactly; empty while there are none."""
    from agentenv.gateway.calls import Continuation
    from agentenv.gateway.continuation import DriftStatistics

    drift = DriftStatistics(statistics.continuations, statistics.fork_reasons, statistics.tokens_realigned)
    if not drift.continued:
        return ""
    if why:
        return str(drift)
    shown = [one for one in Continuation if one is not Continuation.OPENING]
    return "turns " + ", ".join(f"{100 * drift.share(one):.0f} % {one.value}" for one in shown)


def _summarise(statistics: GatewayStatistics, journal: Journal | None, *, json: bool) -> None:
    if json:
        sys.stdout.write(json_.dumps(statistics.to_wire()) + "\n")
        return
    ended = ", ".join(f"{count} {status}" for status, count in sorted(statistics.ended.items())) or "none"
    lines = [f"{_calls(statistics)}, {statistics.sampled_tokens:,} tokens sampled", f"sessions ended: {ended}"]
    if drift := _drift(statistics, why=True):
        lines.append(drift)
    if journal is not None:
        lines.append(f"episodes are in {journal.path}")
    err().print("\n".join(lines), style="dim", markup=False, highlight=False, soft_wrap=True)
