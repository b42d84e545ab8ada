"""Checkpoints: whole or not there at all, whenever the process dies or the disk fills."""

from __future__ import annotations

import os
import pickle
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from agentenv.learn.errors import CheckpointError
from agentenv.learn.model import load_model

TRAINER_FILE = "trainer.pt"
KEPT = 2
"""How many of the latest checkpoints stay on disk."""

REFERENCE = "reference"

_WEIGHTS = re.compile(r".*\.(safetensors|bin|pt)(\.index\.json)?$")
_NUMBERED = re.compile(r"^(?P<kind>iteration|best)-(?P<iteration>\d{6})$")


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is.

    Attributes:
        iteration: updates made.
        best_iteration, best_reward: the best evaluation so far; `None` before the first.
        evaluated: the latest iteration that was evaluated; −1 before the first. A run that was killed during an
            evaluation makes up for it.
        settled_below, settled_beyond: the groups those updates took or dropped (`agentenv.learn.buffer.Settled`).
        ledger: the amounts of them (`agentenv.learn.accounting.Ledger.state`).
    """

    iteration: int = 0
    best_iteration: int = 0
    best_reward: float | None = None
    evaluated: int = -1
    settled_below: int = 0
    settled_beyond: tuple[int, ...] = ()
    ledger: Mapping[str, Mapping[str, tuple[int, int, float]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a run goes on from: the model lies in `folder`, the rest is here."""

    folder: Path
    progress: Progress
    learner: dict[str, Any]
    torch_rng: torch.Tensor


class Checkpoints:
    """The `checkpoints` folder of a run: `iteration-000010`, … to go on from, and `best-000020`, the model to use.

    Both are in `save_pretrained` layout, with the tokenizer and whatever else lies beside the weights in
    `model_folder`, so that a policy can serve them. Everything is written under another name, flushed to the disk and
    then renamed; older ones are removed only after that.
    """

    def __init__(self, folder: Path, model_folder: Path) -> None:
        self._folder = folder
        self._model_folder = model_folder

    def save(self, model: Any, learner: dict[str, Any], progress: Progress) -> Path:
        """Writes a checkpoint and removes what it makes superfluous.

        Raises:
            CheckpointError: it cannot be written; the ones before it are untouched.
        """
        state = {"progress": asdict(progress), "learner": learner, "torch_rng": torch.get_rng_state()}
        folder = self._write(f"iteration-{progress.iteration:06d}", model, state)
        self._prune(progress)
        return folder

    def save_best(self, model: Any, iteration: int, weights: Mapping[str, torch.Tensor] | None = None) -> Path:
        """Writes the model to use. The one before it stays until the next checkpoint no longer names it.

        Args:
            weights: its state dict where `model` has gone on to later ones.
        """
        return self._write(f"best-{iteration:06d}", model, None, weights)

    def best(self, iteration: int) -> Path:
        """Where the best model of that iteration lies."""
        return self._folder / f"best-{iteration:06d}"

    def reference(self, model: Any) -> Any:
        """The model the iterations started from: `model`, written down the first time this is called, read later."""
        folder = self._folder / REFERENCE
        if not folder.is_dir():
            self._write(REFERENCE, model, None)
        return load_model(folder)

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint, or `None` where there is none.

        Raises:
            CheckpointError: it cannot be read.
        """
        folder = max(self._numbered("iteration"), default=None)
        if folder is None:
            return None
        try:
            state = torch.load(folder / TRAINER_FILE, weights_only=True, map_location="cpu")
            return Checkpoint(folder, Progress(**state["progress"]), state["learner"], state["torch_rng"])
        except (OSError, RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
            raise CheckpointError(
                f"{folder} cannot be read ({type(error).__name__}: {error}); remove it to go on from the one before"
            ) from error

    def _numbered(self, kind: str) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return [path for path in self._folder.iterdir() if (m := _NUMBERED.match(path.name)) and m["kind"] == kind]

    def _write(
        self,
        name: str,
        model: Any,
        state: dict[str, Any] | None,
        weights: Mapping[str, torch.Tensor] | None = None,
    ) -> Path:
        final, partial, old = self._folder / name, self._folder / f".{name}.partial", self._folder / f".{name}.old"
        try:
            for left_by_one_killed in (partial, old):
                shutil.rmtree(left_by_one_killed, ignore_errors=True)
            partial.mkdir(parents=True)
            model.save_pretrained(partial, state_dict=None if weights is None else dict(weights))
            for path in self._model_folder.iterdir():
                if path.is_file() and not _WEIGHTS.match(path.name) and not (partial / path.name).exists():
                    shutil.copy2(path, partial / path.name)
            if state is not None:
                torch.save(state, partial / TRAINER_FILE)
            _flush(partial)
            if final.exists():
                final.rename(old)  # removing it in place would leave half of it to whoever is killed meanwhile
            partial.rename(final)
            shutil.rmtree(old, ignore_errors=True)
        except (OSError, RuntimeError, SafetensorError) as error:  # a full disk comes as any of the three
            shutil.rmtree(partial, ignore_errors=True)
            raise CheckpointError(f"{final} cannot be written ({error}); earlier checkpoints are untouched") from error
        return final

    def _prune(self, progress: Progress) -> None:
        checkpoints = sorted(self._numbered("iteration"))
        superfluous = [*checkpoints[:-KEPT], *self._numbered("best")]
        for path in superfluous:
            if path != self.best(progress.best_iteration):
                shutil.rmtree(path, ignore_errors=True)


def _flush(folder: Path) -> None:
    """Makes a folder's files survive a power cut."""
    for path in (*folder.iterdir(), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
