"""Rows and advantages become training rows; what is not scored is refused, never averaged."""

from __future__ import annotations

import pytest

from agentenv.errors import UnscoredRewardError
from agentenv.learn.aggregation import Aggregation
from agentenv.learn.errors import InvalidRowError
from agentenv.learn.streams import training_rows
from agentenv.trajectory import RowView, build_rows
from tests.trajectory.build import call, episode


def test_every_sampled_token_gets_its_episodes_advantage_and_logprob() -> None:
    rows = build_rows([episode(call([1], [2, 3]), call([1, 2, 3, 9], [5]))]).rows
    (made,) = training_rows(rows, {"e": 1.5}, Aggregation.TOKEN_MEAN)
    assert made.advantages.tolist() == [0.0, 1.5, 1.5, 0.0, 1.5]
    assert made.behaviour_logprobs.tolist() == [0.0, -0.5, -1.5, 0.0, -0.5]
    assert made.weights.tolist() == [0.0, 1.0, 1.0, 0.0, 1.0]


@pytest.mark.parametrize("view", list(RowView))
def test_under_the_episode_mean_an_episode_weighs_one_in_however_many_rows_it_lies(view: RowView) -> None:
    episodes = [
        episode(call([1], [2, 3]), call([1, 2, 3, 9], [5]), id="long"),
        episode(call([1], [2]), id="short"),
    ]
    made = training_rows(build_rows(episodes, view).rows, {"long": 1.0, "short": 1.0}, Aggregation.EPISODE_MEAN)
    total = {name: sum(float(row.weights.sum()) for row in made if row.name == name) for name in ("long", "short")}
    assert total == pytest.approx({"long": 1.0, "short": 1.0})
    each = {round(float(weight), 6) for row in made if row.name == "long" for weight in row.weights[row.mask]}
    assert each == {round(1 / 3, 6)}


def test_an_unscored_episodes_rows_are_refused_by_name() -> None:
    rows = build_rows([episode(call([1], [2]), id="judge was down", final_reward=None)]).rows
    assert len(rows) == 1
    with pytest.raises(UnscoredRewardError, match="judge was down"):
        training_rows(rows, {"judge was down": None}, Aggregation.EPISODE_MEAN)


def test_a_logprob_that_is_not_a_number_is_refused_by_name() -> None:
    rows = build_rows([episode(call([1], [2], logprob=float("nan")), id="broken")]).rows
    with pytest.raises(InvalidRowError, match="row of broken: the logprob at position 1 is nan"):
        training_rows(rows, {"broken": 1.0}, Aggregation.EPISODE_MEAN)
