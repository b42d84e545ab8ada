"""`agentenv check`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import typer

from agentenv.cli.common import err, find_environment, out, settings_of


def add_to(app: typer.Typer) -> None:
    app.command("check")(check)


def check(
    context: typer.Context,
    id: str = typer.Argument(help="An environment's id, or path/to/file.py[:Class]."),
    tasks: int | None = typer.Option(None, min=1, help="How many tasks to look at."),
    seed: int = typer.Option(0, help="Which tasks, and the dice of the attacks."),
    json: bool = typer.Option(False, "--json", help="JSON on standard output."),
) -> None:
    """Audit an environment and its verifier: determinism, leaks, blocking code, answers that fool the verifier.

    Ends with 1 when something is found that training would go wrong on, otherwise with 0.

    Example: agentenv check my_env.py
    """
    settings = settings_of(context, env="arguments of the environment")
    spec = find_environment(id, settings["env"])
    from agentenv.check import audit, render

    options: dict[str, Any] = {"seed": seed} if tasks is None else {"seed": seed, "tasks": tasks}
    with err().status("checking"):
        report = asyncio.run(audit(spec, **options))
    if json:
        sys.stdout.write(report.to_json() + "\n")
    else:
        render(report, out())
    raise typer.Exit(report.exit_code)
