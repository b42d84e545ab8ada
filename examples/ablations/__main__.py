"""Runs the ablations and prints one table.

    python -m examples.ablations                                  # all of them, two at a time
    python -m examples.ablations learning_rate kl --seeds 5       # two questions, more seeds
    python -m examples.ablations --table                          # the table of what is finished

The same command again runs what is missing. Everything lies under runs/ablations.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from examples.ablations.grid import Run, grid, starts, variants
from examples.ablations.launch import RunFailedError, launch, make_start
from examples.ablations.report import lines, markdown


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.ablations", description="What each setting is worth.")
    parser.add_argument("questions", nargs="*", help="folders of this one; all by default")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each variant")
    parser.add_argument("--base-seeds", type=int, default=6, help="runs of the base, for the noise floor")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, of one thread each")
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--table", action="store_true", help="only the table of what is finished")
    options = parser.parse_args(arguments)
    try:
        chosen = variants(options.questions or None)
    except ValueError as error:
        parser.error(str(error))
    runs = grid(chosen, seeds=options.seeds, base_seeds=options.base_seeds, out=options.out)
    failed = [] if options.table else train(runs, options)
    print(markdown(lines(runs)))
    return 1 if failed else 0


def train(runs: Sequence[Run], options: argparse.Namespace) -> list[str]:
    """Trains what is missing, and returns what went wrong."""
    console = Console(stderr=True)
    failed: list[str] = []
    with Progress(console=console) as progress:
        bar = progress.add_task("runs", total=len(runs))

        def on_done(run: Run, failure: str | None) -> None:
            progress.advance(bar)
            if failure is not None:
                failed.append(failure)
                console.print(failure, style="red", markup=False)

        try:
            for start in starts([run.variant for run in runs]):
                make_start(start, options.out / start.stem)
            asyncio.run(launch(runs, jobs=options.jobs, on_done=on_done))
        except RunFailedError as error:
            sys.exit(str(error))
        except KeyboardInterrupt:
            console.print("Stopped; the same command goes on.")
            sys.exit(130)
    return failed


if __name__ == "__main__":
    sys.exit(main())
