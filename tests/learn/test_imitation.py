"""Imitating the run's own successes: only they are learnt, each as often as the others."""

from __future__ import annotations

import random

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from agentenv.learn.config import ImitationPhase  # noqa: E402
from agentenv.learn.imitation import imitate, successes  # noqa: E402
from tests.learn.build import logprobs_of, tiny_model  # noqa: E402
from tests.trajectory.build import call, episode  # noqa: E402

EPISODES = [
    episode(call([3], [5, 6]), call([3, 5, 6, 4], [7]), id="good", final_reward=1.0),
    episode(call([3], [8, 9]), id="bad", final_reward=0.0),
    episode(call([3], [8, 9]), id="unscored", final_reward=None),
]


def test_only_successes_become_rows_and_only_what_they_sampled_counts() -> None:
    (row,) = successes(EPISODES, at_least=1.0)
    assert row.name == "good"
    assert row.ids.tolist() == [3, 5, 6, 4, 7]
    assert row.weights.tolist() == [0.0, 1.0, 1.0, 0.0, 1.0]
    assert row.units == 3.0


def test_imitation_makes_the_successes_likelier() -> None:
    model = tiny_model()
    before = logprobs_of(model, [3, 5, 6, 4, 7], [1, 2, 4]).sum()
    imitate(model, successes(EPISODES, 1.0), ImitationPhase(steps=20, lr=1e-2, rows_per_step=2), random.Random(0))
    assert logprobs_of(model, [3, 5, 6, 4, 7], [1, 2, 4]).sum() > before + 1.0


def test_every_success_is_seen_before_any_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def watch(model: object, at: object, config: ImitationPhase, on_step: object) -> None:
        seen.extend(at(index).name for index in range(config.steps * config.rows_per_step))  # type: ignore[operator]

    monkeypatch.setattr("agentenv.learn.imitation.supervise", watch)
    episodes = [episode(call([3], [5]), id=name) for name in "abcde"]
    imitate(tiny_model(), successes(episodes, 1.0), ImitationPhase(steps=5, rows_per_step=3), random.Random(0))
    assert [sorted(seen[start : start + 5]) for start in (0, 5, 10)] == [list("abcde")] * 3


def test_without_a_success_nothing_is_learnt() -> None:
    model = tiny_model()
    imitate(model, [], ImitationPhase(), random.Random(0))
    assert all(
        torch.equal(ours, theirs) for ours, theirs in zip(model.parameters(), tiny_model().parameters(), strict=True)
    )
