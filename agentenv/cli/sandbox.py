"""`agentenv sandbox`: commands about the places where a model's code runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

from agentenv.cli import serve_sandboxes
from agentenv.cli.common import err, out, print_json

if TYPE_CHECKING:
    from agentenv.sandbox.attacks import Outcome


def add_to(app: typer.Typer) -> None:
    sandbox = typer.Typer(name="sandbox", no_args_is_help=True, help="Places to run what a model wrote.")
    sandbox.command("probe")(probe)
    sandbox.command("attack")(attack)
    serve_sandboxes.add_to(sandbox)
    app.add_typer(sandbox)


def probe(
    backend: str = typer.Argument("local", help="The backend to ask, as in `agentenv list sandboxes`."),
    json: bool = typer.Option(False, "--json", help="JSON on standard output."),
) -> int:
    """Show what this host can promise the sandboxes of a backend: how well they are walled off, and which limits hold.

    Example: agentenv sandbox probe
    """
    from rich.markup import escape
    from rich.table import Table

    from agentenv.sandbox import Promise
    from agentenv.sandbox.registry import make_backend

    made = make_backend(backend)
    promises = asyncio.run(made.probe())
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
    backend: str = typer.Argument("local", help="The backend to attack, as in `agentenv list sandboxes`."),
    markdown: bool = typer.Option(False, "--markdown", help="The table as Markdown."),
    json: bool = typer.Option(False, "--json", help="JSON on standard output."),
) -> int:
    """Attack the sandboxes of a backend and show what contains each attempt; the exit code is 1 if one gets out.

    Example: agentenv sandbox attack local
    """
    from rich.markup import escape
    from rich.table import Table

    outcomes = asyncio.run(_attack(backend))
    escaped = [outcome for outcome in outcomes if not outcome.contained]
    if json:
        print_json([{"attack": one.attack.name, "contained": one.contained, "by": one.by} for one in outcomes])
    elif markdown:
        lines = ["| attack | contained | by |", "| :-- | :-- | :-- |"]
        lines += [f"| {one.attack.name} | {'yes' if one.contained else '**NO**'} | {one.by} |" for one in outcomes]
        out().print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
    else:
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("attack", no_wrap=True)
        table.add_column("", no_wrap=True)
        table.add_column("by", overflow="fold")
        for one in outcomes:
            mark = "[green]contained[/green]" if one.contained else "[red]OUT[/red]"
            table.add_row(one.attack.name, mark, escape(one.by))
        out().print(table)
    err().print(f"{len(outcomes) - len(escaped)} of {len(outcomes)} attacks on {escape(backend)} were contained")
    return 1 if escaped else 0


async def _attack(backend: str) -> list[Outcome]:
    from rich.progress import Progress

    from agentenv.sandbox.attacks import ATTACKS, attack
    from agentenv.sandbox.registry import make_backend

    outcomes = []
    with Progress(console=err(), transient=True) as progress:
        bar = progress.add_task("attacking", total=len(ATTACKS))
        async with make_backend(backend) as sandboxes:
            async for outcome in attack(sandboxes):
                outcomes.append(outcome)
                progress.advance(bar)
    return outcomes
