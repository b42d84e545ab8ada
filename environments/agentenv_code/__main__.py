"""`python -m agentenv_code attack`: what programs that want to be paid without an answer get."""

from __future__ import annotations

import asyncio
import sys

import typer

from agentenv.errors import AgentenvError
from agentenv.sandbox.registry import make_backend
from agentenv_code.grading.attacks import HONEST, Attack
from agentenv_code.grading.trial import GRADERS, LIMITS, Outcome, attack, attempt

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def main() -> None:
    """Environments in which a policy writes programs."""


@app.command("attack")
def command(
    sandbox: str = typer.Option("local", help="The backend to grade on; see `agentenv list sandboxes`."),
    markdown: bool = typer.Option(False, "--markdown", help="A table for the documentation."),
) -> None:
    """Try every attack on every grader. Ends with 1 where one of them was paid, or went unnoticed that must not.

    Example: python -m agentenv_code attack --markdown
    """
    try:
        held = asyncio.run(_try_all(sandbox, markdown=markdown))
    except AgentenvError as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(1) from error
    raise typer.Exit(0 if held else 1)


async def _try_all(name: str, *, markdown: bool) -> bool:
    held = True
    async with make_backend(name, limits=LIMITS) as backend:
        if markdown:
            _write("program", *GRADERS, "noted as")
            _write(":--", *["--:"] * len(GRADERS), ":--")
        honest = await attempt(backend, Attack("the honest program", HONEST))
        _tell(honest, markdown=markdown)
        async for outcome in attack(backend):
            _tell(outcome, markdown=markdown)
            held = held and outcome.withstood
    return held and all(verdict.solved for verdict in honest.verdicts.values())


def _tell(outcome: Outcome, *, markdown: bool) -> None:
    scores = [f"{verdict.fraction:g}" for verdict in outcome.verdicts.values()]
    labels = ", ".join(outcome.labels)
    if markdown:
        _write(outcome.attack.name, *scores, labels or "–")
        return
    mark = "" if outcome.withstood or outcome.attack.code == HONEST else "  PAID OR UNNOTICED"
    sys.stdout.write(f"{outcome.attack.name:42} {' '.join(scores)}  {labels}{mark}\n")
    sys.stdout.flush()


def _write(*cells: str) -> None:
    sys.stdout.write(f"| {' | '.join(cells)} |\n")
    sys.stdout.flush()


if __name__ == "__main__":
    app()
