"""Runs the four agents against a gateway and shows what they leave behind.

    agentenv serve gateway http://127.0.0.1:8000/v1                  # in front of a model that can use a calculator
    python -m examples.agents http://127.0.0.1:8600 --tasks 16 --siblings 4

The model is asked for as `tiny`; `agentenv serve gateway … --model NAME` makes another of it.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from agentenv.evaluate.runner import draw_tasks
from agentenv.gateway import Continuation
from agentenv.registry import spec
from examples.agents.runner import AGENTS, Attempts, load_agent, run_agent

COLUMNS = (
    "agent",
    "API",
    "attempts",
    "solved",
    "calls",
    "merged",
    "realigned",
    "forked",
    "rows",
    "tokens",
    "excluded tokens",
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.agents", description="Four agents through one gateway.")
    parser.add_argument("gateway", help="its URL, without /v1")
    parser.add_argument("--agent", choices=AGENTS, action="append", help="one of them; all by default")
    parser.add_argument("--tasks", type=int, default=16)
    parser.add_argument("--siblings", type=int, default=1)
    parser.add_argument("--level", type=int, default=1, help="operations a task")
    parser.add_argument("--operand-max", type=int, default=12)
    options = parser.parse_args(arguments)
    table = Table(*COLUMNS)
    for attempts in asyncio.run(play(options)):
        table.add_row(*describe(attempts))
    Console().print(table)


async def play(options: argparse.Namespace) -> list[Attempts]:
    environment = spec("calculator-v0").with_kwargs(level=options.level, operand_max=options.operand_max)
    tasks = await draw_tasks(environment, split="train", count=options.tasks, seed=0)
    return [
        await run_agent(load_agent(name), options.gateway, environment, tasks, siblings=options.siblings)
        for name in options.agent or AGENTS
    ]


def describe(attempts: Attempts) -> list[str]:
    """One line of the table. The shares are of the calls that are not the first of their conversation."""
    following = attempts.calls - attempts.continuations.get(Continuation.OPENING, 0)
    kinds = (Continuation.MERGED, Continuation.REALIGNED, Continuation.FORKED)
    shares = [f"{attempts.continuations.get(kind, 0) / max(following, 1):.0%}" for kind in kinds]
    rows = attempts.rows
    return [
        attempts.agent,
        ", ".join(sorted(attempts.protocols)),
        str(len(attempts.episodes)),
        f"{attempts.solved:.0%}",
        str(attempts.calls),
        *shares,
        str(len(rows.rows)),
        str(sum(row.sampled for row in rows.rows)),
        str(sum(exclusion.tokens or 0 for exclusion in rows.excluded)),
    ]


if __name__ == "__main__":
    main()
