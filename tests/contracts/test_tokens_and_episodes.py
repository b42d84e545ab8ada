from __future__ import annotations

import pytest

from agentenv.env import Action, Observation
from agentenv.episode import Episode, EpisodeKey, Turn, Usage
from agentenv.messages import assistant
from agentenv.outcome import Status, StopReason
from agentenv.rewards import Component, Reward
from agentenv.tasks import Task
from agentenv.tokens import TokenRecord, TokenRecordError, VersionSpan


def turn(index: int, reward: Reward | None, **info: object) -> Turn:
    return Turn(index, Observation(), Action(assistant("x")), "stop", Usage(), reward, False, False, info)


def episode(status: Status, *turns: Turn) -> Episode:
    key = EpisodeKey("env-v0", "t", "t", 0)
    return Episode("e", key, Task.ask("t", "?"), 0, "p", 1, status, StopReason.TERMINATED, turns)


def test_a_token_record_must_fit_together() -> None:
    record = TokenRecord((1, 2), (3, 4), (-0.1, -0.2), (VersionSpan(0, 0, 1), VersionSpan(1, 1, 2)))
    assert record.versions[1].version == 1
    with pytest.raises(TokenRecordError, match="2 sampled tokens but 1 logprobs"):
        TokenRecord((), (3, 4), (-0.1,), (VersionSpan(0, 0, 2),))
    with pytest.raises(TokenRecordError, match="cover 1 of 2"):
        TokenRecord((), (3, 4), (-0.1, -0.2), (VersionSpan(0, 0, 1),))
    with pytest.raises(TokenRecordError, match="without gaps"):
        TokenRecord((), (3, 4), (-0.1, -0.2), (VersionSpan(0, 1, 2),))


def test_the_return_is_the_sum_over_the_turns_and_its_parts_are_kept() -> None:
    played = episode(
        Status.OK,
        turn(0, Reward.of(Component("format", 1.0, weight=0.1))),
        turn(1, Reward.of(Component("format", 1.0, weight=0.1), Component("correct", 1.0))),
    )
    assert played.reward == pytest.approx(1.2)
    assert played.components == {"format": 2.0, "correct": 1.0}


@pytest.mark.parametrize("status", [status for status in Status if not status.scored])
def test_a_failure_is_never_a_number(status: Status) -> None:
    assert episode(status, turn(0, Reward.of())).reward is None


def test_one_unscored_step_leaves_the_whole_episode_unscored() -> None:
    assert episode(Status.OK, turn(0, Reward.of()), turn(1, None)).reward is None
    assert episode(Status.OK).reward is None


def test_metrics_of_later_turns_win() -> None:
    played = episode(Status.OK, turn(0, Reward.of(), metrics={"calls": 1}), turn(1, Reward.of(), metrics={"calls": 2}))
    assert played.metrics == {"calls": 2}


@pytest.mark.parametrize(
    "reported", [None, 3, "fast", ["calls"], {"calls": "many", "path": None, "loss": float("nan"), "huge": 10**400}]
)
def test_metrics_that_are_no_numbers_are_left_out(reported: object) -> None:
    played = episode(Status.OK, turn(0, Reward.of(), metrics={"hits": True}), turn(1, Reward.of(), metrics=reported))
    assert played.metrics == {"hits": True}
