"""`agentenv sandbox`: commands about the places where a model's code runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

from agentenv.cli import serve_sandboxes
from agentenv.cli.common import err, find_backend, out, print_json, settings_of

if TYPE_CHECKING:
    from agentenv.sandbox import SandboxBackend
    from agentenv.sandbox.attacks import Outcome


def add_to(app: typer.Typer) -> None:
    sandbox = typer.Typer(name="sandbox", no_args_is_help=True, help="Places to run what a model wrote.")
    sandbox.command("probe")(probe)
    sandbox.command("attack")(attack)
    serve_sandboxes.add_to(sandbox)
    app.add_typer(sandbox)


def probe(
    context: typer.Context,
    backend: str = typer.Argument("local", help="The backend to ask, as in `agentenv list sandboxes`."),
    json: bool = typer.Option(False, "--json", help="JSON on standard output."),
) -> int:
    """Show what this host can promise the sandboxes of a backend: how well they are walled off, and which limits hold.

    Example: agentenv sandbox probe docker --backend.runtime runsc
    """
    from rich.markup import escape
    from rich.table import Table

    from agentenv.sandbox import Promise

    promises = asyncio.run(_backend(context, backend).probe())
    if json:
        print_json(
            {"backend": backend, "isolation": promises.isolation, "kept": promises.kept, "broken": promises.broken}
        )
        return 0
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("promise", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("by", overflow="fold")
    for promise in Promise:
        mark = "[green]kept[/green]" if promise in promises.kept else "[red]broken[/red]"
        reason = promises.kept.get(promise) or promises.broken.get(promise, "this backend does not say")
        table.add_row(promise.value, mark, escape(reason))
    out().print(table)
    err().print(f"[dim]isolation of {escape(backend)} sandboxes on this host:[/dim] {escape(promises.isolation.value)}")
    return 0


def attack(
    context: typer.Context,
    backend: str = typer.Argument("local", help="The backend to attack, as in `agentenv list sandboxes`."),
    markdown: bool = typer.Option(False, "--markdown", help="The table as Markdown."),
    json: bool = typer.Option(False, "--json", help="JSON on standard output."),
) -> int:
    """Attack the sandboxes of a backend and show what contains each attempt.

    The exit code is 1 if one gets out that the backend has promised to withstand.

    Example: agentenv sandbox attack local --backend.isolation restricted --backend.without '["disk limit"]'
    """
    from rich.markup import escape
    from rich.table import Table

    outcomes = asyncio.run(_attack(_backend(context, backend)))
    escaped = [outcome for outcome in outcomes if not outcome.contained]
    broken = [outcome for outcome in escaped if outcome.promised]
    if json:
        print_json(
            [
                {"attack": one.attack.name, "contained": one.contained, "promised": one.promised, "by": one.by}
                for one in outcomes
            ]
        )
    elif markdown:
        lines = ["| attack | contained | by |", "| :-- | :-- | :-- |"]
        lines += [f"| {one.attack.name} | {_MARKDOWN[_outcome(one)]} | {one.by} |" for one in outcomes]
        out().print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
    else:
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("attack", no_wrap=True)
        table.add_column("", no_wrap=True)
        table.add_column("by", overflow="fold")
        for one in outcomes:
            table.add_row(one.attack.name, _MARKS[_outcome(one)], escape(one.by))
        out().print(table)
    without = f", {unpromised} it does not promise to withstand" if (unpromised := len(escaped) - len(broken)) else ""
    err().print(
        f"{len(outcomes) - len(escaped)} of {len(outcomes)} attacks on {escape(backend)} were contained{without}"
    )
    return 1 if broken else 0


_MARKDOWN = {True: "yes", None: "not promised", False: "**NO**"}
_MARKS = {True: "[green]contained[/green]", None: "[yellow]not promised[/yellow]", False: "[red]OUT[/red]"}


def _outcome(outcome: Outcome) -> bool | None:
    """Whether it was contained; `None` where it was not, and need not be."""
    return True if outcome.contained else False if outcome.promised else None


def _backend(context: typer.Context, name: str) -> SandboxBackend:
    return find_backend(name, settings_of(context, backend="options of the backend")["backend"])


async def _attack(backend: SandboxBackend) -> list[Outcome]:
    from rich.progress import Progress

    from agentenv.sandbox.attacks import ATTACKS, attack

    outcomes = []
    with Progress(console=err(), transient=True) as progress:
        bar = progress.add_task("attacking", total=len(ATTACKS))
        async with backend as sandboxes:
            async for outcome in attack(sandboxes):
                outcomes.append(outcome)
                progress.advance(bar)
    return outcomes
