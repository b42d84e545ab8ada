"""Each alarm is raised by what it is about, by nothing else, and survives a checkpoint."""

from __future__ import annotations

import math
from typing import Any

import pytest

from agentenv.config import load_config
from agentenv.errors import ConfigError
from agentenv.learn.alarms import Alarms, Played, Trained
from agentenv.learn.config.alarms import Alarm, AlarmAction, AlarmsConfig

CALM = Trained(gradient_norm=1.0, mismatch=0.0)


def played(**changes: Any) -> Played:
    return Played(**({"length": 40.0, "capped": 0.0, "idle_groups": 0.2, "reward": 0.6, "entropy": 1.0} | changes))


def watch(**settings: Any) -> Alarms:
    """Alarms that have seen three uneventful iterations, with a window of two."""
    alarms = Alarms(AlarmsConfig.model_validate({"window": 2} | settings))
    for _ in range(3):
        assert alarms.before_update(played()) == []
        assert alarms.after_update(CALM) == []
    return alarms


def names(raised: list[Any]) -> list[str]:
    return [one.name for one in raised]


def test_answers_that_have_shrunk_are_reported_against_those_at_the_start() -> None:
    alarms = watch()
    assert names(alarms.before_update(played(length=10.5))) == []
    (raised,) = alarms.before_update(played(length=10.0))
    assert (raised.name, raised.action) == ("short_answers", AlarmAction.WARN)
    assert "25%" in raised.message


@pytest.mark.parametrize(("changes", "name"), [({"capped": 0.5}, "capped_answers"), ({"length": 1.0}, "short_answers")])
def test_an_alarm_can_be_switched_off(changes: dict[str, float], name: str) -> None:
    assert names(watch().before_update(played(**changes))) == [name]
    assert watch(**{name: None}).before_update(played(**changes)) == []


def test_idle_groups_must_have_been_idle_for_the_whole_window() -> None:
    alarms = watch()
    assert names(alarms.before_update(played(idle_groups=1.0))) == []
    assert names(alarms.before_update(played(idle_groups=1.0))) == ["idle_groups"]
    assert names(alarms.before_update(played(idle_groups=0.9))) == []


@pytest.mark.parametrize(
    ("trained", "name"),
    [
        (Trained(20.0, 0.0), "gradient_spike"),
        (Trained(1.0, 0.06), "mismatch"),
    ],
)
def test_an_update_raises_its_alarm(trained: Trained, name: str) -> None:
    assert names(watch().after_update(trained)) == [name]


def test_a_spike_is_judged_by_the_median_before_it() -> None:
    alarms = watch()
    assert names(alarms.after_update(Trained(19.0, 0.0))) == []
    # The window now holds 1 and 19, whose median is 10.
    assert names(alarms.after_update(Trained(199.0, 0.0))) == []
    assert names(watch().after_update(Trained(25.0, 0.0))) == ["gradient_spike"]


def test_a_policy_that_has_stopped_trying_anything_is_reported_even_if_nothing_is_left_to_train_on() -> None:
    assert names(watch().before_update(played(entropy=0.0009))) == ["low_entropy"]
    assert names(watch().before_update(played(entropy=0.0011))) == []


def test_a_reward_that_has_collapsed_is_reported_within_three_iterations() -> None:
    alarms = watch()
    assert names(alarms.before_update(played(reward=0.1))) == []
    (raised,) = alarms.before_update(played(reward=0.1))
    assert (raised.name, raised.action) == ("fallen_reward", AlarmAction.WARN)
    assert "0.267 over 3 iterations and was 0.600" in raised.message


def test_a_reward_that_was_never_positive_has_no_height_to_fall_from() -> None:
    alarms = Alarms(AlarmsConfig())
    rewards = (-1.0, -1.0, -1.0, -3.0, -3.0, -3.0)
    assert [names(alarms.before_update(played(reward=reward))) for reward in rewards] == [[]] * 6


def test_what_could_not_be_measured_raises_nothing() -> None:
    alarms = watch()
    assert alarms.before_update(Played(math.nan, math.nan, math.nan, math.nan, math.nan)) == []
    assert alarms.after_update(Trained(math.nan, math.nan)) == []


def test_format_bought_at_the_expense_of_the_answer_is_reported() -> None:
    alarms = Alarms(AlarmsConfig(window=2, bought_format=Alarm(at=0.1)))
    assert alarms.before_update(played(components={"format": 0.5, "correct": 0.5})) == []
    (raised,) = alarms.before_update(played(components={"format": 0.7, "correct": 0.3}))
    assert raised.name == "bought_format"
    assert names(alarms.before_update(played(components={"format": 0.9, "correct": 0.3}))) == []
    assert names(alarms.before_update(played(components={"format": 1.0}))) == []


def test_a_step_is_left_out_only_where_that_is_the_action() -> None:
    assert watch().step_limit() is None
    assert watch(gradient_spike={"at": 5.0, "action": "skip"}).step_limit() == 5.0


def test_a_resumed_run_remembers_what_the_start_was_like() -> None:
    alarms, again = watch(), Alarms(AlarmsConfig(window=2))
    again.load_state_dict(alarms.state_dict())
    assert names(again.before_update(played(length=1.0))) == ["short_answers"]


def test_a_number_in_a_file_is_a_threshold_and_what_cannot_be_skipped_is_refused() -> None:
    assert load_config(AlarmsConfig, None, ["mismatch=0.2"]).mismatch == Alarm(at=0.2)
    assert load_config(AlarmsConfig, None, ["mismatch=false"]).mismatch is None
    stopping = load_config(AlarmsConfig, None, ["mismatch.action=stop"]).mismatch
    assert stopping == Alarm(at=0.05, action=AlarmAction.STOP)
    with pytest.raises(ConfigError, match="known only once the update has been made"):
        load_config(AlarmsConfig, None, ["mismatch.at=0.2", "mismatch.action=skip"])
    for name in ("low_entropy", "fallen_reward"):
        with pytest.raises(ConfigError, match=f"{name} would leave out every later update too"):
            load_config(AlarmsConfig, None, [f"{name}.action=skip"])
