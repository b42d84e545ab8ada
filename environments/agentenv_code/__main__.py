"""`python -m agentenv_code`: what the graders pay on a backend, to attackers, to solutions and to stubs."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Coroutine
from typing import NoReturn

import typer
from rich.progress import Progress

from agentenv.errors import AgentenvError
from agentenv.sandbox.registry import make_backend
from agentenv_code.grading.attacks import HONEST, Attack
from agentenv_code.grading.trial import GRADERS, LIMITS, Outcome, attack, attempt
from agentenv_code.synthesis import env
from agentenv_code.synthesis.humaneval import load_humaneval
from agentenv_code.synthesis.soundness import judge_all

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
    _exit_by(_try_all(sandbox, markdown=markdown))


@app.command("humaneval")
def humaneval(
    sandbox: str = typer.Option("local", help="The backend to grade on; see `agentenv list sandboxes`."),
    at_once: int = typer.Option(4, min=1, help="Problems graded side by side."),
) -> None:
    """Grade HumanEval's own solutions and stubs. Ends with 1 unless all solutions pass and all stubs fail.

    Example: python -m agentenv_code humaneval --sandbox docker
    """
    _exit_by(_judge(sandbox, at_once))


def _exit_by(work: Coroutine[None, None, bool]) -> NoReturn:
    """Ends the process by whether all is well."""
    try:
        well = asyncio.run(work)
    except AgentenvError as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(1) from error
    raise typer.Exit(0 if well else 1)


async def _judge(name: str, at_once: int) -> bool:
    began, problems = time.perf_counter(), list(load_humaneval(None, "test"))
    with Progress(transient=True) as progress:
        bar = progress.add_task(f"HumanEval on {name}", total=len(problems))
        async with make_backend(name, limits=env.LIMITS) as backend:
            judged = await judge_all(backend, problems, at_once, on_judged=lambda _: progress.advance(bar))
    for one in judged:
        if not one.sound:
            sys.stdout.write(f"{one.id}: solution {one.solution}, stub {one.stub}\n")
    solved, failed = sum(one.solution.solved for one in judged), sum(one.stub.passed == 0 for one in judged)
    sys.stdout.write(
        f"{solved} of {len(judged)} solutions pass, {failed} of {len(judged)} stubs fail; "
        f"on {name} in {time.perf_counter() - began:.0f} s\n"
    )
    return all(one.sound for one in judged)


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
