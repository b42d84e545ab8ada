"""A run's numbers arrive in TensorBoard's and Weights & Biases' own files."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

from agentenv.learn.config.tracking import Tracking
from agentenv.learn.tracking import TensorBoard, WeightsAndBiases, open_trackers, scalars


def test_scalars_are_the_finite_numbers_by_their_path() -> None:
    values = {"reward": 0.5, "update": {"loss": 2, "kl": math.nan}, "statuses": {"ok": 3}, "name": "x", "none": None}
    assert dict(scalars("train", values)) == {"train/reward": 0.5, "train/update/loss": 2.0, "train/statuses/ok": 3.0}


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    tracker = TensorBoard(tmp_path)
    tracker.write({"train/reward": 0.25}, 1)
    tracker.write({"train/reward": 0.5}, 2)
    tracker.close()
    read = accumulators.EventAccumulator(str(tmp_path))
    read.Reload()
    assert [(event.step, event.value) for event in read.Scalars("train/reward")] == [(1, 0.25), (2, 0.5)]


def test_weights_and_biases_keeps_a_run_on_this_machine_when_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    tracker = WeightsAndBiases(tmp_path, "a run", {"learner": {"lr": 0.1}})
    tracker.write({"train/reward": 0.5}, 1)
    tracker.close()
    (recorded,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    given_up = time.monotonic() + 60
    while b"train/reward" not in recorded.read_bytes():  # the library's own process writes it, a moment later
        assert time.monotonic() < given_up
        time.sleep(0.05)


def test_nobody_is_told_who_was_not_asked_for(tmp_path: Path) -> None:
    assert open_trackers([], tmp_path, {}) == []
    assert list(tmp_path.iterdir()) == []


def test_a_tracker_asked_for_twice_is_opened_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    opened = open_trackers([Tracking.TENSORBOARD, Tracking.TENSORBOARD], tmp_path, {})
    assert len(opened) == 1
    opened[0].close()
