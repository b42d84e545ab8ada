"""The engine's promises: no barriers, a cap, continuous refill, cancellation, retries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from agentenv import Action, Message, SandboxError, Status, StepResult, StopReason, ToolSpec, assistant
from agentenv.errors import AgentenvError, ConfigError, ContextLengthError, ModelError
from agentenv.policy.contract import Completion, Sampling, Session
from agentenv.rollout import EpisodeRequest, Journal, RetryConfig, RolloutConfig, RolloutEngine, group_requests
from agentenv.wrappers import Limited
from tests.rollout.actors import HEALTHY, Scripted, Turns, flatten, make_from, requests, settle, spec, tasks


class Gated(Turns):
    """A step that waits until the test opens the gate, as a slow tool would."""

    gate: asyncio.Event
    waiting = 0

    async def step(self, action: Action) -> StepResult:
        type(self).waiting += 1
        await self.gate.wait()
        return await super().step(action)


@pytest.fixture
def gated() -> type[Gated]:
    return type("Gated", (Gated,), {"gate": asyncio.Event(), "waiting": 0})


async def test_every_request_becomes_one_episode_with_its_reward_and_its_turns() -> None:
    async with RolloutEngine(Scripted(), make_env=lambda _: Turns()) as engine:
        episodes = await engine.collect(requests(HEALTHY, 5, turns=3, siblings=2))
    assert len({episode.key for episode in episodes}) == 10
    for episode in episodes:
        assert (episode.status, episode.stop_reason, episode.reward) == (Status.OK, StopReason.TERMINATED, 1.0)
        assert [turn.index for turn in episode.turns] == [0, 1, 2]
        assert [turn.observation.messages[-1].text for turn in episode.turns[1:]] == ["2 left", "1 left"]
        assert episode.final_observation.messages[0].text == "0 left"
        assert episode.turns[-1].info == {"left": 0}


async def test_the_policy_sees_the_whole_conversation_in_order() -> None:
    seen: list[list[str]] = []

    def answer(messages: Sequence[Message]) -> str:
        seen.append([message.text for message in messages])
        return f"answer {len(seen)}"

    async with RolloutEngine(Scripted(answer), make_env=lambda _: Turns()) as engine:
        await engine.collect(requests(HEALTHY, 1, turns=2))
    assert seen == [["question 0"], ["question 0", "answer 1", "1 left"]]


async def test_a_waiting_tool_call_does_not_stop_another_episodes_generation(gated: type[Gated]) -> None:
    slow, fast = spec("gated"), spec("turns")
    wanted = flatten([requests(slow, 1), requests(fast, 3, turns=4)])
    engine = RolloutEngine(Scripted(), make_env=make_from(gated=gated, turns=Turns))
    async with engine, aclosing(engine.run(wanted)) as episodes:
        first = [await anext(episodes) for _ in range(3)]
        assert gated.waiting == 1
        gated.gate.set()
        last = await anext(episodes)
    assert {episode.key.environment for episode in first} == {fast.id}
    assert last.key.environment == slow.id


async def test_a_turn_does_not_wait_for_the_tools_of_another_episode_in_the_same_group() -> None:
    """Each sibling's second generation may begin only while the other is still inside its first step."""
    first_step_done = [asyncio.Event(), asyncio.Event()]

    class Staggered(Turns):
        made = 0

        def __init__(self) -> None:
            self.number = Staggered.made
            Staggered.made += 1

        async def step(self, action: Action) -> StepResult:
            if self.number == 1:
                await first_step_done[0].wait()  # set only when sibling 0 is asked for its second turn
            return await super().step(action)

    class Watching(Scripted):
        async def complete(
            self, messages: Sequence[Message], tools: Sequence[ToolSpec], sampling: Sampling, session: Session
        ) -> Completion:
            assert isinstance(session.env, Staggered)
            if session.env.number == 0 and len(messages) > 1:
                first_step_done[0].set()
            return await super().complete(messages, tools, sampling, session)

    async with RolloutEngine(Watching(), make_env=lambda _: Staggered()) as engine:
        episodes = await engine.collect(requests(HEALTHY, 1, siblings=2, turns=2))
    assert [episode.status for episode in episodes] == [Status.OK, Status.OK]


async def test_a_finished_episode_is_replaced_at_once_while_another_is_stuck(gated: type[Gated]) -> None:
    slow, fast = spec("gated"), spec("turns")
    wanted = flatten([requests(slow, 1), requests(fast, 20)])
    make_env = make_from(gated=gated, turns=Turns)
    engine = RolloutEngine(Scripted(), RolloutConfig(max_concurrent=2), make_env=make_env)
    async with engine, aclosing(engine.run(wanted)) as episodes:
        for _ in range(20):
            assert (await anext(episodes)).key.environment == fast.id
        gated.gate.set()
        assert (await anext(episodes)).key.environment == slow.id


async def test_no_more_than_max_concurrent_episodes_are_alive_over_all_runs_together(gated: type[Gated]) -> None:
    config = RolloutConfig(max_concurrent=3)
    async with RolloutEngine(Scripted(), config, make_env=lambda _: gated()) as engine:
        runs = [asyncio.create_task(engine.collect(requests(spec(name), 5))) for name in ("one", "two")]
        await settle(lambda: gated.waiting == 3)
        await asyncio.sleep(0.02)  # long enough for a fourth to slip in, were there no cap
        assert gated.waiting == engine.stats.in_flight == 3
        gated.gate.set()
        assert [len(await run) for run in runs] == [5, 5]
        assert engine.stats.peak_in_flight == 3


async def test_requests_are_drawn_lazily_from_an_asynchronous_source(gated: type[Gated]) -> None:
    drawn = 0

    async def source() -> AsyncIterator[EpisodeRequest]:
        nonlocal drawn
        for request in requests(HEALTHY, 100):
            drawn += 1
            yield request

    async with RolloutEngine(Scripted(), RolloutConfig(max_concurrent=4), make_env=lambda _: gated()) as engine:
        collecting = asyncio.create_task(engine.collect(source()))
        await settle(lambda: gated.waiting == 4)
        assert drawn == 5  # four alive and the next one at hand
        gated.gate.set()
        assert len(await collecting) == 100


async def test_siblings_share_the_environments_seed_and_differ_in_the_policys() -> None:
    seeds: dict[str, set[int]] = {}

    class Seeded(Turns):
        async def step(self, action: Action) -> StepResult:
            seeds.setdefault(self.task.id, set()).add(self.seed)
            return await super().step(action)

    policy = Scripted()
    async with RolloutEngine(policy, make_env=lambda _: Seeded()) as engine:
        await engine.collect(group_requests(HEALTHY, tasks(3), siblings=4, seed=11))
    assert all(len(found) == 1 for found in seeds.values())
    assert len(set.union(*seeds.values())) == 3
    assert len({session.seed for session in policy.sessions}) == 12


def test_group_requests_are_the_same_in_every_process() -> None:
    first, second = (next(group_requests(HEALTHY, tasks(1), seed=7, iteration=iteration)) for iteration in (0, 2))
    assert (first.seed, first.session_seed) == (36498418, 1176128139)
    assert (second.seed, second.session_seed) == (36498418, 1677870032)


async def test_cancelling_the_consumer_closes_environments_and_journals_the_attempts_as_cancelled(
    tmp_path: Path, gated: type[Gated]
) -> None:
    closed: list[int] = []

    class Closing(gated):  # type: ignore[misc, valid-type]
        async def close(self) -> None:
            closed.append(id(self))

    with Journal.open(tmp_path / "journal.sqlite") as journal:
        async with RolloutEngine(Scripted(), journal=journal, make_env=lambda _: Closing()) as engine:
            collecting = asyncio.create_task(engine.collect(requests(HEALTHY, 4)))
            await settle(lambda: Closing.waiting == 4)
            collecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await collecting
            assert engine.stats.in_flight == 0
        assert len(closed) == len(set(closed)) == 4
        assert journal.counts() == {Status.CANCELLED: 4}
        assert all(episode.reward is None for episode in journal.episodes())


async def test_breaking_out_of_the_iteration_keeps_what_is_finished(tmp_path: Path, gated: type[Gated]) -> None:
    slow, fast = spec("gated"), spec("turns")
    make_env = make_from(gated=gated, turns=Turns)
    with Journal.open(tmp_path / "journal.sqlite") as journal:
        async with RolloutEngine(Scripted(), journal=journal, make_env=make_env) as engine:
            async for _ in engine.run(flatten([requests(fast, 3), requests(slow, 1)])):
                await settle(lambda: gated.waiting == 1 and journal.counts().get(Status.OK) == 3)
                break
        assert journal.counts() == {Status.OK: 3, Status.CANCELLED: 1}


async def test_a_sandbox_failure_is_tried_again_and_only_the_last_attempt_is_yielded(tmp_path: Path) -> None:
    failures = iter([True, True, False])

    class Flaky(Turns):
        async def step(self, action: Action) -> StepResult:
            if next(failures):
                raise SandboxError("the container is gone")
            return await super().step(action)

    config = RolloutConfig(retry=RetryConfig(attempts=2, backoff=0.001))
    with Journal.open(tmp_path / "journal.sqlite") as journal:
        async with RolloutEngine(Scripted(), config, journal, make_env=lambda _: Flaky()) as engine:
            (episode,) = await engine.collect(requests(HEALTHY, 1))
            assert engine.stats.retried == 2
        assert (episode.status, episode.attempt, episode.reward) == (Status.OK, 3, 1.0)
        recorded = [(attempt.attempt, attempt.status, attempt.reward) for attempt in journal.episodes()]
    assert recorded == [(1, Status.SANDBOX_ERROR, None), (2, Status.SANDBOX_ERROR, None), (3, Status.OK, 1.0)]


async def test_a_wrong_answer_is_never_tried_again() -> None:
    class Wrong(Turns):
        async def step(self, action: Action) -> StepResult:
            return (await super().step(action))._replace(reward=0.0)

    policy = Scripted()
    retry = RetryConfig(attempts=5, statuses=frozenset({Status.ENV_ERROR, Status.MODEL_ERROR}))
    async with RolloutEngine(policy, RolloutConfig(retry=retry), make_env=lambda _: Wrong()) as engine:
        (episode,) = await engine.collect(requests(HEALTHY, 1))
    assert (episode.reward, episode.attempt, len(policy.sessions)) == (0.0, 1, 1)
    with pytest.raises(ValueError, match="ok cannot be retried"):
        RetryConfig(statuses=frozenset({Status.OK}))


async def test_retries_end_with_the_episodes_budget() -> None:
    class Broken(Turns):
        async def step(self, action: Action) -> StepResult:
            raise SandboxError("never works")

    retry = RetryConfig(attempts=10**6, backoff=0.02, backoff_limit=0.02)
    config = RolloutConfig(episode_timeout=0.2, retry=retry)
    async with RolloutEngine(Scripted(), config, make_env=lambda _: Broken()) as engine:
        (episode,) = await engine.collect(requests(HEALTHY, 1))
    assert episode.status in (Status.SANDBOX_ERROR, Status.TIMEOUT)
    assert episode.attempt > 1


async def test_a_conversation_that_no_longer_fits_the_context_truncates_the_episode() -> None:
    def answer(messages: Sequence[Message]) -> str:
        if len(messages) > 3:
            raise ContextLengthError("too long")
        return "more"

    async with RolloutEngine(Scripted(answer), make_env=lambda _: Turns()) as engine:
        (episode,) = await engine.collect(requests(HEALTHY, 1, turns=9))
    assert (episode.status, episode.stop_reason) == (Status.TRUNCATED, StopReason.CONTEXT_LENGTH)
    assert (len(episode.turns), episode.reward) == (2, 0.0)


async def test_a_truncating_environment_names_its_limit() -> None:
    async with RolloutEngine(Scripted(), make_env=lambda _: Limited(Turns(), max_turns=2)) as engine:
        (episode,) = await engine.collect(requests(HEALTHY, 1, turns=9))
    assert (episode.status, episode.stop_reason) == (Status.TRUNCATED, StopReason.TURN_LIMIT)
    assert [turn.truncated for turn in episode.turns] == [False, True]
    assert not any(turn.terminated for turn in episode.turns)


@pytest.mark.parametrize("error", [ModelError("the endpoint gave up"), ValueError("a bug in the policy")])
async def test_whatever_the_policy_raises_is_a_model_error_without_a_reward(error: Exception) -> None:
    def answer(messages: Sequence[Message]) -> str:
        raise error

    async with RolloutEngine(Scripted(answer), make_env=lambda _: Turns()) as engine:
        (episode,) = await engine.collect(requests(HEALTHY, 1))
    assert (episode.status, episode.reward) == (Status.MODEL_ERROR, None)
    assert episode.failure is not None
    assert episode.failure.where == "scripted.complete"
    assert str(error) in episode.failure.message


async def test_a_policy_that_answers_something_else_than_a_completion_is_a_model_error() -> None:
    class Careless(Scripted):
        async def complete(self, *_: object) -> Completion:
            return assistant("I forgot the envelope")  # type: ignore[return-value]

    async with RolloutEngine(Careless(), make_env=lambda _: Turns()) as engine:
        (episode,) = await engine.collect(requests(HEALTHY, 1))
    assert episode.status is Status.MODEL_ERROR


async def test_two_requests_with_one_key_are_a_mistake(gated: type[Gated]) -> None:
    async with RolloutEngine(Scripted(), make_env=lambda _: gated()) as engine:
        with pytest.raises(ConfigError, match="two requests have the key healthy-v0/0/healthy-v0-0"):
            await engine.collect(requests(HEALTHY, 1) * 2)
        assert engine.stats.in_flight == 0


async def test_an_engine_must_be_opened_first() -> None:
    with pytest.raises(AgentenvError, match="async with"):
        await RolloutEngine(Scripted()).collect(requests(HEALTHY, 1))


async def test_an_error_of_the_request_source_ends_the_run_and_cancels_its_episodes(gated: type[Gated]) -> None:
    async def source() -> AsyncIterator[EpisodeRequest]:
        yield requests(HEALTHY, 1)[0]
        await settle(lambda: gated.waiting == 1)
        raise OSError("the task file is gone")

    async with RolloutEngine(Scripted(), make_env=lambda _: gated()) as engine:
        with pytest.raises(OSError, match="task file"):
            await engine.collect(source())
        assert engine.stats.in_flight == 0
