"""The metrics file is JSON line by line, and an iteration's numbers are those of its episodes."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest

pytest.importorskip("torch")

from agentenv.episode import Episode
from agentenv.learn.config.advantage import Grpo
from agentenv.learn.credit import assign
from agentenv.learn.diagnostics import Tally
from agentenv.learn.experience import Experience
from agentenv.learn.groups import Batch, Group
from agentenv.learn.learner import Learned
from agentenv.learn.metrics import IterationMetrics, MetricsFile, Seconds, as_values
from agentenv.outcome import Status
from agentenv.rollout import Lap
from agentenv.trajectory import build_rows
from tests.trajectory.build import call, episode


def learned_from(episodes: list[Episode]) -> Learned:
    """The report of an update that took no step."""
    rows = build_rows(episodes)
    credit = assign(Experience.of(episodes, rows.rows), Grpo(), random.Random(0))
    update = Tally(rows=len(rows.rows), skipped_rows=0).finish(0)
    return Learned(tuple(episodes), rows, credit, update, math.nan, False, 0.0, 0.0, 0.0)


def test_the_numbers_of_an_iteration_worked_by_hand() -> None:
    episodes = [
        episode(call([1], [2, 3], version=4), call([1, 2, 3, 9], [5], version=4), id="a", final_reward=1.0),
        episode(call([1], [2], version=3), id="b", sibling=1, final_reward=0.0),
        episode(call([1], [2, 2]), id="c", sibling=2, status=Status.MODEL_ERROR),
        episode(call([1], [2], version=4), id="d", group="other", final_reward=0.5),
    ]
    dropped = Group(7, (episode(call([1], [2], version=4), id="e", group="dropped", final_reward=0.0),))
    batch = Batch((Group(4, tuple(episodes[:3])), Group(5, tuple(episodes[3:]))), (dropped,))
    metrics = IterationMetrics.of(
        5, batch, learned_from(episodes), Seconds(2.0, 0.0, 1.0, 0.0), Lap(8.0, 6.0), sampled=8
    )
    assert (metrics.iteration, metrics.version, metrics.episodes, metrics.unscored) == (5, 5, 4, 1)
    assert metrics.statuses == {"ok": 3, "model_error": 1}
    assert metrics.reward_mean == pytest.approx(0.5)
    assert metrics.reward_std == pytest.approx(math.sqrt((0.25 + 0.25 + 0.0) / 3))
    assert metrics.components == {"reward": 0.5}
    assert metrics.turns == pytest.approx(4 / 3)
    assert (metrics.response_mean, metrics.response_max) == (pytest.approx(5 / 3), 3)
    assert (metrics.groups, metrics.zero_variance) == (2, 0.5)
    assert (metrics.all_correct, metrics.all_wrong, metrics.unique) == (0.0, 0.5, 1.0)
    assert (metrics.groups_drawn, metrics.groups_dropped) == (3, 1)
    assert metrics.reward_drawn == pytest.approx(1.5 / 4)
    assert (metrics.rows, metrics.row_tokens, metrics.excluded) == (3, 5 + 2 + 2, {"episode_failed": 1})
    # Of five trained tokens one is by version 3 where 4 was current.
    assert metrics.staleness_mean == pytest.approx(1 / 5)
    assert metrics.staleness == {0: 4, 1: 1}
    # In eight seconds the policy had something to do for two, in which eight tokens were sampled.
    assert metrics.bubble == 0.75
    assert metrics.sampled_per_second == pytest.approx(8 / 2)


def test_turns_that_did_not_go_on_token_for_token_are_counted() -> None:
    episodes = [
        episode(call([1], [2]), call([1, 2, 3], [4]), call([1, 2, 3, 9], [5]), id="edited"),
        episode(call([1], [2]), call([7], [8]), id="rewritten", sibling=1),
        episode(call([1], [2]), id="single", sibling=2),
    ]
    batch = Batch((Group(0, tuple(episodes)),))
    metrics = IterationMetrics.of(
        1, batch, learned_from(episodes), Seconds(1.0, 0.0, 1.0, 0.0), Lap(1.0, 0.0), sampled=0
    )
    # The third call of the first episode still continues its first.
    assert metrics.continued == 2 / 3
    assert metrics.departures == {"answer_changed": 1, "prompt_changed": 1}


def test_what_could_not_be_measured_is_null(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.jsonl")
    file.append("iteration", {"iteration": 1, "update": as_values(Tally(0, 0).finish(0))})
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["update"]["loss"] is None
    assert "NaN" not in line


def test_a_resumed_run_forgets_what_it_is_about_to_write_again_and_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    file = MetricsFile(path)
    file.forget_after(0, evaluation=-1)
    for iteration in range(4):
        file.append("iteration", {"iteration": iteration})
        file.append("evaluation", {"iteration": iteration})
    with path.open("a") as opened:
        opened.write('{"kind": "iterat')
    file.forget_after(2, evaluation=1)
    assert [line["iteration"] for line in file.read() if line["kind"] == "iteration"] == [0, 1, 2]
    assert [line["iteration"] for line in file.read() if line["kind"] == "evaluation"] == [0, 1]
