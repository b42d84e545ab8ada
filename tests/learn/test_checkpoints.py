"""Checkpoints are whole or absent, and name themselves when they cannot be read or written."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from agentenv.learn.checkpoints import Checkpoints, Progress  # noqa: E402
from agentenv.learn.errors import CheckpointError  # noqa: E402
from tests.learn.build import tiny_model  # noqa: E402


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    start = tmp_path / "start"
    start.mkdir()
    (start / "tokenizer.json").write_text("the tokenizer")
    (start / "model.safetensors").write_text("old weights")
    return Checkpoints(tmp_path / "checkpoints", start)


def names(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "checkpoints").iterdir())


def test_what_was_saved_comes_back(checkpoints: Checkpoints) -> None:
    progress = Progress(7, 5, 0.25)
    folder = checkpoints.save(tiny_model(), {"state": {0: torch.ones(2)}, "param_groups": [{"lr": 0.1}]}, progress)
    found = checkpoints.latest()
    assert found is not None
    assert (found.folder, found.progress) == (folder, progress)
    assert found.learner["state"][0].tolist() == [1.0, 1.0]


def test_a_checkpoint_is_a_policy_folder_with_new_weights_and_the_old_tokenizer(checkpoints: Checkpoints) -> None:
    folder = checkpoints.save_best(tiny_model(), 3)
    assert folder == checkpoints.best(3)
    assert (folder / "tokenizer.json").read_text() == "the tokenizer"
    assert (folder / "config.json").is_file()
    assert (folder / "model.safetensors").read_bytes() != b"old weights"


def test_there_is_none_in_a_new_run(checkpoints: Checkpoints) -> None:
    assert checkpoints.latest() is None


def test_the_two_latest_and_the_best_stay(checkpoints: Checkpoints, tmp_path: Path) -> None:
    model = tiny_model()
    for iteration in (1, 2, 3):
        checkpoints.save_best(model, iteration)
        checkpoints.save(model, {}, Progress(iteration, 2, 0.5))
    assert names(tmp_path) == ["best-000002", "iteration-000002", "iteration-000003"]


def test_a_failing_save_leaves_the_earlier_checkpoint_and_no_debris(
    checkpoints: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.save(tiny_model(), {}, Progress(1))

    def fill_the_disk(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fill_the_disk)
    with pytest.raises(CheckpointError, match=r"iteration-000002 cannot be written.*No space left"):
        checkpoints.save(tiny_model(), {}, Progress(2))
    assert names(tmp_path) == ["iteration-000001"]
    found = checkpoints.latest()
    assert found is not None
    assert found.progress.iteration == 1


def test_whoever_is_killed_while_one_is_replaced_leaves_no_half_of_it(
    checkpoints: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old one goes as a whole: nothing is removed file by file under the name that a run goes on from."""
    checkpoints.save(tiny_model(), {}, Progress(1))
    checkpoints.save(tiny_model(), {}, Progress(2))
    seen: list[list[str]] = []
    remove = shutil.rmtree

    def watching(path: Path, **keywords: Any) -> None:
        seen.append(names(tmp_path))
        assert path.name.startswith(".")
        remove(path, **keywords)

    monkeypatch.setattr(shutil, "rmtree", watching)
    checkpoints.save(tiny_model(), {}, Progress(2))
    assert seen[-1] == [".iteration-000002.old", "iteration-000001", "iteration-000002"]
    assert names(tmp_path) == ["iteration-000001", "iteration-000002"]


def test_a_disk_that_fills_during_a_save_leaves_the_earlier_checkpoint(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    checkpoints.save(tiny_model(), {}, Progress(1))
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, unlimited[1]))  # every larger file fails as on a full disk
    try:
        with pytest.raises(CheckpointError, match="iteration-000002 cannot be written"):
            checkpoints.save(tiny_model(), {}, Progress(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert names(tmp_path) == ["iteration-000001"]


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_a_damaged_checkpoint_is_named(checkpoints: Checkpoints, content: bytes | None) -> None:
    folder = checkpoints.save(tiny_model(), {}, Progress(1))
    if content is None:
        (folder / "trainer.pt").unlink()
    else:
        (folder / "trainer.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="iteration-000001 cannot be read"):
        checkpoints.latest()
