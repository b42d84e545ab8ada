"""Two processes that share a model's parameters and its rows: the numbers are those of one process."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from agentenv.learn.parallel import Parallel  # noqa: E402
from tests.learn import sharded  # noqa: E402
from tests.learn.sharded import CASES  # noqa: E402


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes found, by case."""
    folder: Path = tmp_path_factory.mktemp("sharded")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        (folder / "port").write_text(str(probe.getsockname()[1]))
    names = [name for name in CASES if _possible(name)]
    torch.multiprocessing.spawn(sharded.process, (2, folder, names), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_processes_find_what_one_does(name: str, found: list[dict[str, Any]]) -> None:
    if not _possible(name):
        pytest.skip("peft is not installed")
    alone = sharded.run(CASES[name], Parallel())
    for process in found:
        _same(process[name], alone)


def _possible(name: str) -> bool:
    return CASES[name].learner.lora is None or importlib.util.find_spec("peft") is not None


def _same(found: Any, expected: Any) -> None:
    if isinstance(expected, torch.Tensor):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            _same(found[key], value)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            _same(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-6, nan_ok=True)
    else:
        assert found == expected
