"""Transitions keep what happened at each turn, apart and complete."""

from __future__ import annotations

from agentenv.outcome import Status
from agentenv.tokens import VersionSpan
from agentenv.trajectory import group_id, transitions
from tests.trajectory.build import call, episode


def test_a_transition_holds_state_action_reward_and_next_state() -> None:
    first, second = transitions(episode(call([1, 2], [3], version=7), call([1, 2, 3, 4], [5, 6]), final_reward=0.25))
    assert (first.state, first.action, first.next_state) == ((1, 2), (3,), (1, 2, 3, 4))
    assert (first.reward, second.reward) == (0.0, 0.25)
    assert first.versions == (VersionSpan(7, 0, 1),)
    assert second.logprobs == (-0.5, -1.5)
    assert second.next_state is None
    assert (first.state_key, second.state_key) == ("state 0", "state 1")
    assert first.memory_version is None


def test_only_the_last_transition_terminates() -> None:
    made = transitions(episode(call([1], [2]), call([1, 2], [3])))
    assert [(one.terminated, one.truncated) for one in made] == [(False, False), (True, False)]


def test_an_episode_cut_between_turns_is_truncated_and_not_terminated_at_its_last_transition() -> None:
    made = transitions(episode(call([1], [2]), call([1, 2], [3]), status=Status.TRUNCATED))
    assert [(one.terminated, one.truncated) for one in made] == [(False, False), (False, True)]


def test_an_unscored_step_stays_none_and_is_not_zero() -> None:
    assert transitions(episode(call([1], [2]), final_reward=None))[0].reward is None


def test_siblings_share_a_group_id_that_names_the_iteration_and_the_task() -> None:
    one, other = (episode(call([1], [2]), id=str(n), sibling=n) for n in range(2))
    assert group_id(one.key) == group_id(other.key) == "toy-v0/3/g/task"
    assert [transitions(each)[0].sibling for each in (one, other)] == [0, 1]


def test_turns_without_tokens_have_no_transition() -> None:
    made = transitions(episode(call([1], [2]), None, call([9], [8])))
    assert [one.turn for one in made] == [0, 2]
    assert made[0].next_state == (9,)
