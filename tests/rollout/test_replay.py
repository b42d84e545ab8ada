"""Replay and rescoring: the environment runs again, the model is not asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from agentenv import Action, Env, Message, Status, StepResult, VerifierError, user
from agentenv.env import Observation
from agentenv.errors import RegistryError
from agentenv.rewards import Component, Reward
from agentenv.rollout import Journal, RolloutEngine, replay, rescore
from agentenv.rollout.replaying import Aspect
from agentenv.wrappers import Limited
from tests.rollout.actors import HEALTHY, Scripted, Turns, requests


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


async def play(journal: Journal, make: Callable[[], Env] = Turns, *, count: int = 3, turns: int = 3) -> None:
    def answer(messages: Sequence[Message]) -> str:
        return f"turn {len(messages)}"

    async with RolloutEngine(Scripted(answer), journal=journal, make_env=lambda _: make()) as engine:
        await engine.collect(requests(HEALTHY, count, turns=turns))


class Changed(Turns):
    """Gives and shows something else at its second turn."""

    async def step(self, action: Action) -> StepResult:
        result = await super().step(action)
        if self.left != 1:
            return result
        return result._replace(observation=Observation((user("changed"),)), reward=-0.25)


class Impatient(Turns):
    async def step(self, action: Action) -> StepResult:
        return (await super().step(action))._replace(terminated=True)


class HalfMarks(Turns):
    async def step(self, action: Action) -> StepResult:
        result = await super().step(action)
        return result._replace(reward=Reward.of(Component("correct", float(result.reward or 0.0), weight=0.5)))


class BrokenVerifier(Turns):
    async def step(self, action: Action) -> StepResult:
        if self.left == 1:
            raise VerifierError("the grader is gone")
        return await super().step(action)


@pytest.mark.parametrize("make", [Turns, lambda: Limited(Turns(), max_turns=2)])
async def test_an_environment_that_did_not_change_replays_without_a_difference(
    path: Path, make: Callable[[], Env]
) -> None:
    with Journal.open(path) as journal:
        await play(journal, make)
        report = await replay(journal, make_env=lambda _: make())
    assert (report.episodes, report.differences) == (3, ())
    assert report.turns in (9, 6)


async def test_a_changed_environment_is_caught_at_the_step_that_differs(path: Path) -> None:
    with Journal.open(path) as journal:
        await play(journal, count=1)
        report = await replay(journal, make_env=lambda _: Changed())
    found = {(difference.turn, difference.aspect): difference for difference in report.differences}
    assert set(found) == {(1, Aspect.REWARD), (1, Aspect.COMPONENTS), (1, Aspect.OBSERVATION)}
    assert (found[1, Aspect.REWARD].recorded, found[1, Aspect.REWARD].replayed) == ("0.0", "-0.25")
    assert "1 left" in found[1, Aspect.OBSERVATION].recorded
    assert "changed" in found[1, Aspect.OBSERVATION].replayed


async def test_an_episode_that_ends_elsewhere_is_caught(path: Path) -> None:
    with Journal.open(path) as journal:
        await play(journal, count=1)
        early = await replay(journal, make_env=lambda _: Impatient())
    assert {difference.aspect for difference in early.differences} == {Aspect.TERMINATED, Aspect.ENDING}
    assert early.differences[-1].recorded == "ok (terminated) after 3 turns"
    assert early.differences[-1].replayed == "ok (terminated) after 1 turns"


async def test_an_episode_that_no_longer_ends_is_caught(path: Path) -> None:
    with Journal.open(path) as journal:
        await play(journal, Impatient, count=1)
        late = await replay(journal, make_env=lambda _: Turns())
    assert late.differences[-1].replayed == "truncated (context_length) after 1 turns"


async def test_a_replay_uses_the_recorded_specification_and_imports_it(path: Path) -> None:
    with Journal.open(path) as journal:
        await play(journal)
        assert (await replay(journal)).differences == ()


async def test_an_episode_without_a_specification_of_an_unknown_environment_says_so(path: Path) -> None:
    with Journal.open(path) as journal:
        await play(journal, count=1)
        (episode,) = journal.episodes()
        stray = replace(episode, id="stray", key=replace(episode.key, environment="nowhere-v0"))
        await journal.record(stray)
        with pytest.raises(RegistryError, match="nowhere-v0"):
            await replay(journal)


async def test_rescoring_takes_the_new_rewards_and_keeps_the_recorded_actions(path: Path, tmp_path: Path) -> None:
    with Journal.open(path) as journal, Journal.open(tmp_path / "rescored.sqlite") as into:
        await play(journal)
        report = await rescore(journal, into, make_env=lambda _: HalfMarks())
        assert report.means == (1.0, 0.5)
        assert (len(report.changed), len(report.diverged)) == (3, 0)
        before = {episode.key: episode for episode in journal.episodes()}
        after = {episode.key: episode for episode in into.episodes()}
        assert all(episode.reward == 1.0 for episode in before.values())
        assert before.keys() == after.keys()
        for key, episode in after.items():
            assert (episode.reward, episode.components, episode.policy) == (0.5, {"correct": 1.0}, "scripted")
            assert [turn.action for turn in episode.turns] == [turn.action for turn in before[key].turns]
            assert [turn.model_seconds for turn in episode.turns] == [turn.model_seconds for turn in before[key].turns]
            assert into.spec(episode.id) == HEALTHY


async def test_rescoring_again_goes_on_where_it_stopped(path: Path, tmp_path: Path) -> None:
    made = 0

    def make() -> Env:
        nonlocal made
        made += 1
        return HalfMarks()

    with Journal.open(path) as journal, Journal.open(tmp_path / "rescored.sqlite") as into:
        await play(journal)
        reports = [await rescore(journal, into, make_env=lambda _: make()) for _ in range(2)]
        assert made == 3
        assert [report.means for report in reports] == [(1.0, 0.5)] * 2
        assert into.counts() == {Status.OK: 3}


async def test_what_a_broken_verifier_could_not_score_is_scored_by_a_mended_one(path: Path) -> None:
    with Journal.open(path) as journal:
        await play(journal, BrokenVerifier)
        assert journal.counts() == {Status.VERIFIER_ERROR: 3}
        report = await rescore(journal, make_env=lambda _: Turns())
    assert [(found.recorded, found.rescored) for found in report.episodes] == [(None, 1.0)] * 3
    assert report.means is None


async def test_a_verifier_that_fails_now_makes_the_reward_none_and_says_why(path: Path) -> None:
    with Journal.open(path) as journal:
        await play(journal, count=1)
        (found,) = (await rescore(journal, make_env=lambda _: BrokenVerifier())).episodes
    assert (found.recorded, found.rescored, found.problem) == (1.0, None, "the grader is gone")


async def test_rescoring_says_where_the_environment_answered_otherwise(path: Path) -> None:
    with Journal.open(path) as journal:
        await play(journal, count=2)
        report = await rescore(journal, make_env=lambda _: Changed())
    assert len(report.diverged) == 2
