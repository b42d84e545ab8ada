"""The log of updates survives the death of its writer."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from agentenv.learn.updates import LoggedUpdate, UpdateLog

FIRST, SECOND = LoggedUpdate(1, (0, 2)), LoggedUpdate(2, (1, 4), dropped=(3,))


def test_what_was_logged_comes_back(tmp_path: Path) -> None:
    log = UpdateLog(tmp_path / "updates.jsonl")
    assert log.after(0) == []
    log.append(FIRST)
    log.append(SECOND)
    assert log.after(0) == [FIRST, SECOND]
    assert log.after(1) == [SECOND]
    assert log.after(2) == []


@pytest.mark.parametrize("torn", ['{"iteration": 3, "gro', '{"iteration": 3, "groups": [5], "dropped": []}'])
def test_a_line_that_was_not_written_to_its_end_was_not_written(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "updates.jsonl"
    log = UpdateLog(path)
    log.append(FIRST)
    with path.open("a") as file:
        file.write(torn)
    assert log.after(0) == [FIRST]
    log.append(SECOND)
    assert log.after(0) == [FIRST, SECOND]
