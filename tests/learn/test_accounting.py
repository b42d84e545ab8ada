"""Which episodes were trained on, next to all that were started, worked by hand."""

from __future__ import annotations

import dataclasses
import json

import pytest

pytest.importorskip("torch")

from agentenv.episode import Episode
from agentenv.learn.accounting import Ledger
from agentenv.learn.groups import Batch, Group
from tests.trajectory.build import call, episode


def played(id: str, task: str, tokens: int, seconds: float) -> Episode:
    made = episode(call([1], [2] * tokens), id=id, final_reward=1.0)
    return dataclasses.replace(made, key=dataclasses.replace(made.key, task_id=task), seconds=seconds)


QUICK, SLOW = played("a", "sum", 2, 1.0), played("b", "proof", 10, 9.0)
REFUSED = played("c", "sum", 4, 2.0)


def test_amounts_by_task_and_what_became_of_the_episodes() -> None:
    ledger = Ledger()
    ledger.settle(Batch((Group(0, (QUICK, QUICK)),), (Group(1, (REFUSED,)),)))
    report = ledger.report(3, waiting=[QUICK], cancelled=[SLOW], in_flight=2)
    assert (report["iteration"], report["in_flight"]) == (3, 2)
    assert report["tasks"]["sum"] == {
        "started": {"episodes": 4, "tokens": 10, "seconds": 5.0},
        "finished": {"episodes": 4, "tokens": 10, "seconds": 5.0},
        "trained": {"episodes": 2, "tokens": 4, "seconds": 2.0},
        "dropped": {"episodes": 1, "tokens": 4, "seconds": 2.0},
        "cut": {"episodes": 1, "tokens": 2, "seconds": 1.0},
    }
    assert report["tasks"]["proof"] == {
        "started": {"episodes": 1, "tokens": 10, "seconds": 9.0},
        "cut": {"episodes": 1, "tokens": 10, "seconds": 9.0},
    }
    # The slow one was cut off: what was trained on is quicker and shorter than what was started.
    started, trained = report["summary"]["started"], report["summary"]["trained"]
    assert (started["tokens_mean"], started["seconds_mean"]) == (20 / 5, 14.0 / 5)
    assert (trained["tokens_mean"], trained["seconds_mean"]) == (2.0, 1.0)


def test_a_ledger_goes_on_from_its_state_as_a_file_gives_it_back() -> None:
    ledger = Ledger()
    ledger.settle(Batch((Group(0, (QUICK,)),)))
    again = Ledger(json.loads(json.dumps(ledger.state())))
    again.settle(Batch((Group(1, (SLOW,)),)))
    ledger.settle(Batch((Group(1, (SLOW,)),)))
    assert again.report(2, waiting=[]) == ledger.report(2, waiting=[])


def test_what_is_not_there_has_no_mean() -> None:
    assert Ledger().report(0, waiting=[])["summary"]["trained"]["tokens_mean"] is None
