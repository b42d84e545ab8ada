"""Runs of a grid, several at a time, each a process of its own. Finished ones are not run again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from examples.ablations.grid import Run

RESULT = "result.json"
LOG = "log.txt"


class RunFailedError(Exception):
    """A training process that ended with an error; the message says where its log is."""


def make_start(file: Path, folder: Path) -> None:
    """The model that all runs without a warm-up of their own begin with; made once."""
    if not (folder / RESULT).exists():
        folder.mkdir(parents=True, exist_ok=True)
        asyncio.run(_train(file, folder, []))


async def launch(runs: Sequence[Run], *, jobs: int, on_done: Callable[[Run, str | None], None]) -> None:
    """Trains what is not finished yet, `jobs` at a time.

    A run that fails does not stop the others. Cancelling this ends the processes; the same call goes on later.

    Args:
        on_done: told of each run when it has ended, with an error message where it failed.
    """
    places = asyncio.Semaphore(jobs)

    async def one(run: Run) -> None:
        async with places:
            failure = None
            if not (run.folder / RESULT).exists():
                run.folder.mkdir(parents=True, exist_ok=True)
                try:
                    await _train(run.variant.file, run.folder, ["--seed", str(run.seed), *run.settings])
                except RunFailedError as error:
                    failure = str(error)
            on_done(run, failure)

    async with asyncio.TaskGroup() as group:
        for run in runs:
            group.create_task(one(run))


async def _train(file: Path, folder: Path, settings: list[str]) -> None:
    program = [sys.executable, "-m", "agentenv", "train", str(file), "--out", str(folder), "--json", *settings]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (folder / LOG).open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *program, stdout=asyncio.subprocess.PIPE, stderr=log, stdin=asyncio.subprocess.DEVNULL, env=environment
        )
        try:
            output, _ = await process.communicate()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
            raise
    if process.returncode:
        raise RunFailedError(
            f"{folder.name} of {folder.parent.name} ended with {process.returncode}; see {folder / LOG}"
        )
    partial = folder / f".{RESULT}"
    partial.write_text(json.dumps(json.loads(output), indent=2))
    partial.rename(folder / RESULT)
