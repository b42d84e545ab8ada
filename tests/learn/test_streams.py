"""Episodes become training rows; what is not scored never does, and what would poison an update is refused by name."""

from __future__ import annotations

import random

import pytest

torch = pytest.importorskip("torch")

from agentenv.episode import Episode  # noqa: E402
from agentenv.learn.aggregation import Aggregation  # noqa: E402
from agentenv.learn.config import LossConfig  # noqa: E402
from agentenv.learn.config.advantage import Reinforce  # noqa: E402
from agentenv.learn.config.loss import PpoClip, Proximal  # noqa: E402
from agentenv.learn.credit import assign  # noqa: E402
from agentenv.learn.errors import InvalidRowError  # noqa: E402
from agentenv.learn.experience import Experience  # noqa: E402
from agentenv.learn.filling import Scores, training_rows  # noqa: E402
from agentenv.learn.streams import TrainingRow, check_row  # noqa: E402
from agentenv.trajectory import RowView, build_rows  # noqa: E402
from tests.trajectory.build import call, episode  # noqa: E402


def filled(
    episodes: list[Episode], loss: LossConfig, view: RowView = RowView.MERGED, iteration: int = 1
) -> list[TrainingRow]:
    """Rows whose advantages are the episodes' returns."""
    experience = Experience.of(episodes, build_rows(episodes, view).rows)
    credit = assign(experience, Reinforce(baseline="none"), random.Random(0))
    return training_rows(experience, credit, Scores(), loss, iteration)


def test_every_sampled_token_gets_its_episodes_advantage_and_logprob() -> None:
    (made,) = filled(
        [episode(call([1], [2, 3]), call([1, 2, 3, 9], [5]), final_reward=1.5)],
        PpoClip(aggregation=Aggregation.TOKEN_MEAN),
    )
    assert made.advantages.tolist() == [0.0, 1.5, 1.5, 0.0, 1.5]
    assert made.behaviour_logprobs.tolist() == [0.0, -0.5, -1.5, 0.0, -0.5]
    assert made.weights.tolist() == [0.0, 1.0, 1.0, 0.0, 1.0]


@pytest.mark.parametrize("view", list(RowView))
def test_under_the_episode_mean_an_episode_weighs_one_in_however_many_rows_it_lies(view: RowView) -> None:
    episodes = [
        episode(call([1], [2, 3]), call([1, 2, 3, 9], [5]), id="long"),
        episode(call([1], [2]), id="short"),
    ]
    made = filled(episodes, PpoClip(), view)
    for total in (lambda row: float(row.weights.sum()), lambda row: row.units):
        by_name = {name: sum(total(row) for row in made if row.name == name) for name in ("long", "short")}
        assert by_name == pytest.approx({"long": 1.0, "short": 1.0})
    each = {round(float(weight), 6) for row in made if row.name == "long" for weight in row.weights[row.mask]}
    assert each == {round(1 / 3, 6)}


@pytest.mark.parametrize(
    ("aggregation", "weights", "units"),
    [
        # One row of three sampled tokens and one of one.
        (Aggregation.TOKEN_MEAN, [1.0, 1.0], 4.0),
        (Aggregation.SEQUENCE_MEAN, [1 / 3, 1.0], 2.0),
        (Aggregation.SEQUENCE_SUM, [1.0, 1.0], 2.0),
        (Aggregation.SEQUENCE_SUM_CONSTANT, [1.0, 1.0], 20.0),
        (Aggregation.EPISODE_MEAN, [1 / 3, 1.0], 2.0),
    ],
)
def test_an_aggregation_is_a_weight_for_each_token_and_a_denominator(
    aggregation: Aggregation, weights: list[float], units: float
) -> None:
    constant = 10 if aggregation is Aggregation.SEQUENCE_SUM_CONSTANT else None
    loss = PpoClip(aggregation=aggregation, constant_length=constant)
    made = filled([episode(call([1], [2, 3, 4]), id="a"), episode(call([1], [2]), id="b")], loss)
    assert [float(row.weights[row.mask][0]) for row in made] == pytest.approx(weights)
    assert sum(row.units for row in made) == pytest.approx(units)


def test_an_unscored_episode_gives_no_rows() -> None:
    unscored = episode(call([1], [2]), id="judge was down", final_reward=None)
    assert len(build_rows([unscored]).rows) == 1
    assert filled([unscored], PpoClip()) == []


def test_a_logprob_that_is_not_a_number_is_refused_by_name() -> None:
    (row,) = filled([episode(call([1], [2], logprob=float("nan")), id="broken")], PpoClip())
    with pytest.raises(InvalidRowError, match="row of broken: the behaviour logprob at position 1 is nan"):
        check_row(row)


def test_a_log_linear_row_says_how_far_each_token_is_behind() -> None:
    # Version 3 makes version 4. Sampled by version 0 (the default of `call`): 3 behind, α = 3/4.
    (row,) = filled([episode(call([1], [2]))], PpoClip(proximal=Proximal.LOG_LINEAR), iteration=4)
    assert row.proximal_mix is not None
    assert row.proximal_mix.tolist() == [0.0, 0.75]
