"""Bad environments among good ones: only theirs fail, and the record says whose fault it was."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from agentenv import Action, Env, EnvSpec, Info, Observation, StepResult, Task, VerifierError, tool, user
from agentenv.chat import ChatEnv
from agentenv.messages import ToolCall, assistant
from agentenv.outcome import Boundary, Status, StopReason
from agentenv.policy.contract import Completion
from agentenv.rollout import Journal, RolloutConfig, RolloutEngine
from tests.rollout.actors import Scripted, Turns, flatten, make_from, requests, settle, spec

HEALTHY = spec("turns")
USUAL = RolloutConfig()
QUICK = RolloutConfig(
    environment_timeout=0.5, model_timeout=0.5, close_timeout=0.5, cancel_grace=0.05, stall_threshold=0.05
)


def stepping(result: Callable[[], Any]) -> type[Env]:
    """An environment whose step does as it is told."""

    class Stepping(Turns):
        async def step(self, action: Action) -> StepResult:
            value: StepResult = result()
            return value

    return Stepping


def rewarded(reward: Any) -> type[Env]:
    return stepping(lambda: StepResult(Observation(), reward, True, False, {}))


def raises(error: BaseException) -> Any:
    raise error


class RaisesInReset(Turns):
    async def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        raise KeyError("config")


class RaisesInInit(Turns):
    def __init__(self) -> None:
        raise ValueError("no such level")


class RaisesInStateKey(Turns):
    def state_key(self) -> str:
        raise IndexError("empty board")


class ForgetsAsync(Turns):
    def step(self, action: Action) -> StepResult:  # type: ignore[override]
        return StepResult(Observation(), 1.0, True, False, {})


class ReturnsNoPairFromReset(Turns):
    async def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        return Observation((user("hello"),))  # type: ignore[return-value]


class CancelsItself(Turns):
    async def step(self, action: Action) -> StepResult:
        raise asyncio.CancelledError


class AsksForItsCancellation(Turns):
    """Ends before the cancellation of its own task reaches it."""

    async def step(self, action: Action) -> StepResult:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return StepResult(Observation(), 0.0, False, False, {})


ENVIRONMENT_FAULTS: dict[str, tuple[Callable[[], Env], str, str]] = {
    "reset": (RaisesInReset, "reset", "KeyError: 'config'"),
    "init": (RaisesInInit, "reset", "no such level"),
    "state": (RaisesInStateKey, "reset", "empty board"),
    "step": (stepping(lambda: raises(RuntimeError("boom"))), "step", "RuntimeError: boom"),
    "exit": (stepping(lambda: sys.exit(3)), "step", "SystemExit: 3"),
    "cancels": (CancelsItself, "step", "CancelledError"),
    "asks": (AsksForItsCancellation, "step", "CancelledError"),
    "sync": (ForgetsAsync, "step", "await"),
    "nopair": (ReturnsNoPairFromReset, "reset", "must return (observation, info)"),
    "four": (stepping(lambda: (Observation(), 1.0, True, {})), "step", "(observation, reward, terminated, truncated"),
    "none": (stepping(lambda: None), "step", "got None"),
    "text": (stepping(lambda: ("well done", 1.0, True, False, {})), "step", "'well done' as observation"),
    "maybe": (stepping(lambda: (Observation(), 1.0, "no", False, {})), "step", "'no' as terminated"),
    "noinfo": (stepping(lambda: (Observation(), 1.0, True, False, None)), "step", "None as info"),
    "dicts": (stepping(lambda: (Observation(({"role": "user"},)), 1.0, True, False, {})), "step", "{'role': 'user'}"),  # type: ignore[arg-type]
}

VERIFIER_FAULTS: dict[str, tuple[Callable[[], Env], str]] = {
    "nan": (rewarded(float("nan")), "which is not finite"),
    "string": (rewarded("1.0"), "reward of type str: '1.0'"),
    "list": (rewarded([1.0]), "reward of type list"),
    "infinite": (rewarded(float("inf")), "not finite"),
    "high": (rewarded(7.5), "high-v0 returned 7.5 in all, outside its reward_range [0, 1]"),
    "low": (rewarded(-1), "low-v0 returned -1 in all, outside its reward_range [0, 1]"),
    "grader": (stepping(lambda: raises(VerifierError("the grader is broken"))), "the grader is broken"),
}


async def play_among_healthy(
    wanted: EnvSpec, make: Callable[[], Env], config: RolloutConfig = USUAL, *, turns: int = 3
) -> Any:
    """The bad environment's episode, once the healthy ones around it have turned out well."""
    make_env = make_from(turns=Turns, **{wanted.id.removesuffix("-v0"): make})
    async with RolloutEngine(Scripted(), config, make_env=make_env) as engine:
        healthy = requests(HEALTHY, 6, turns=turns)
        episodes = await engine.collect(flatten([healthy[:3], requests(wanted, 1), healthy[3:]]))
    good = [episode for episode in episodes if episode.key.environment == HEALTHY.id]
    assert [(episode.status, episode.reward) for episode in good] == [(Status.OK, 1.0)] * 6
    (bad,) = (episode for episode in episodes if episode.key.environment == wanted.id)
    return bad


@pytest.mark.parametrize("name", ENVIRONMENT_FAULTS)
async def test_a_broken_environment_is_an_env_error_of_its_own_episode(name: str) -> None:
    make, call, evidence = ENVIRONMENT_FAULTS[name]
    episode = await play_among_healthy(spec(name), make)
    assert (episode.status, episode.stop_reason, episode.reward) == (Status.ENV_ERROR, StopReason.FAILURE, None)
    assert episode.failure.boundary is Boundary.ENVIRONMENT
    assert episode.failure.where == f"{name}-v0.{call}"
    assert evidence in episode.failure.message
    assert f"{name}-v0." in episode.failure.message


@pytest.mark.parametrize("name", VERIFIER_FAULTS)
async def test_an_impossible_reward_is_a_verifier_error_that_names_the_value(name: str) -> None:
    make, evidence = VERIFIER_FAULTS[name]
    episode = await play_among_healthy(spec(name), make)
    assert (episode.status, episode.stop_reason, episode.reward) == (Status.VERIFIER_ERROR, StopReason.FAILURE, None)
    assert evidence in episode.failure.message


@pytest.mark.parametrize("reward", [numpy.float32(0.5), numpy.array(0.5), 0.5])
async def test_numpys_numbers_and_flags_are_as_good_as_pythons(reward: Any) -> None:
    numeric = stepping(lambda: StepResult(Observation(), reward, numpy.True_, numpy.False_, {}))  # type: ignore[arg-type]
    episode = await play_among_healthy(spec("numeric"), numeric)
    assert (episode.status, episode.reward) == (Status.OK, 0.5)
    assert episode.turns[0].terminated is True


async def test_the_action_a_step_failed_on_is_in_the_record() -> None:
    episode = await play_among_healthy(spec("step"), stepping(lambda: raises(RuntimeError("boom"))))
    (turn,) = episode.turns
    assert (turn.action.message.text, turn.reward) == ("hello", None)


@pytest.mark.parametrize("call", ["reset", "step"])
async def test_a_call_that_hangs_times_out_by_name(call: str) -> None:
    class Hanging(Turns):
        async def hang(self, *_: object, **__: object) -> Any:
            await asyncio.Event().wait()

    Hanging.__abstractmethods__ = frozenset()
    setattr(Hanging, call, Hanging.hang)
    episode = await play_among_healthy(spec("hanging"), Hanging, QUICK)
    assert (episode.status, episode.stop_reason, episode.reward) == (Status.TIMEOUT, StopReason.CALL_TIMEOUT, None)
    assert episode.failure.where == f"hanging-v0.{call}"
    assert episode.failure.message == f"hanging-v0.{call} gave no answer in 0.5 s"


async def test_a_policy_that_never_answers_times_out_by_name() -> None:
    class Silent(Scripted):
        async def complete(self, *_: object) -> Completion:
            await asyncio.Event().wait()
            raise AssertionError

    async with RolloutEngine(Silent(), QUICK, make_env=lambda _: Turns()) as engine:
        (episode,) = await engine.collect(requests(HEALTHY, 1))
    assert (episode.status, episode.stop_reason) == (Status.TIMEOUT, StopReason.CALL_TIMEOUT)
    assert episode.failure is not None
    assert episode.failure.where == "scripted.complete"


async def test_an_episode_of_many_quick_turns_ends_with_its_budget() -> None:
    config = RolloutConfig(episode_timeout=0.1)
    async with RolloutEngine(Scripted(), config, make_env=lambda _: Turns()) as engine:
        (episode,) = await engine.collect(requests(HEALTHY, 1, turns=10**9))
    assert (episode.status, episode.stop_reason) == (Status.TIMEOUT, StopReason.EPISODE_TIMEOUT)
    assert episode.failure is not None
    assert "the episode's 0.1 s were spent" in episode.failure.message


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the coroutine's last word
@pytest.mark.parametrize("swallowed", [asyncio.CancelledError, BaseException])
async def test_a_step_that_ignores_cancellation_is_abandoned_and_counted(swallowed: type[BaseException]) -> None:
    class Stubborn(Turns):
        async def step(self, action: Action) -> StepResult:
            while True:
                try:
                    await asyncio.Event().wait()
                except swallowed:
                    continue

    engine = RolloutEngine(Scripted(), QUICK, make_env=make_from(turns=Turns, stubborn=Stubborn))
    async with engine:
        episodes = await engine.collect(flatten([requests(spec("stubborn"), 1), requests(HEALTHY, 3)]))
        assert engine.stats.abandoned == ["stubborn-v0.step"]
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "stubborn-v0.step"]
    assert sorted((episode.key.environment, episode.status) for episode in episodes) == [
        ("stubborn-v0", Status.TIMEOUT),
        *[("turns-v0", Status.OK)] * 3,
    ]


async def test_cancelling_a_run_does_not_wait_for_steps_that_ignore_it(tmp_path: Path) -> None:
    entered = asyncio.Event()

    class Stubborn(Turns):
        async def step(self, action: Action) -> StepResult:
            entered.set()
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    continue

    with Journal.open(tmp_path / "journal.sqlite") as journal:
        async with RolloutEngine(Scripted(), QUICK, journal, make_env=lambda _: Stubborn()) as engine:
            collecting = asyncio.create_task(engine.collect(requests(HEALTHY, 1)))
            await entered.wait()
            collecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await collecting
        assert journal.counts() == {Status.CANCELLED: 1}


@pytest.mark.parametrize("fault", ["raises", "hangs"])
async def test_a_failing_close_is_noted_and_changes_nothing_about_the_episode(tmp_path: Path, fault: str) -> None:
    class Unclosable(Turns):
        async def close(self) -> None:
            if fault == "raises":
                raise OSError("the socket is gone")
            await asyncio.Event().wait()

    with Journal.open(tmp_path / "journal.sqlite") as journal:
        async with RolloutEngine(Scripted(), QUICK, journal, make_env=lambda _: Unclosable()) as engine:
            (episode,) = await engine.collect(requests(HEALTHY, 1))
            notes = journal.notes(episode.id)
            assert list(engine.stats.notes) == list(notes)
    assert (episode.status, episode.reward, episode.failure) == (Status.OK, 1.0, None)
    evidence = {"raises": "turns-v0.close raised OSError: the socket is gone", "hangs": "gave no answer in 0.5 s"}
    assert len(notes) == 1
    assert evidence[fault] in notes[0]


@pytest.mark.parametrize("name", ["healthy", "reset", "step"])
async def test_every_environment_that_was_made_is_closed_exactly_once(name: str) -> None:
    closed: list[object] = []
    base: type[Env] = {"healthy": Turns, "reset": RaisesInReset, "step": stepping(lambda: raises(ValueError("x")))}[
        name
    ]

    class Counting(base):  # type: ignore[misc, valid-type]
        async def close(self) -> None:
            closed.append(self)

    async with RolloutEngine(Scripted(), QUICK, make_env=lambda _: Counting()) as engine:
        await engine.collect(requests(HEALTHY, 3))
    assert len(closed) == len({id(env) for env in closed}) == 3


class Blocking(Turns):
    """Blocks the loop, once another episode is inside its step."""

    neighbour: asyncio.Event
    seconds = 0.0

    async def step(self, action: Action) -> StepResult:
        await self.neighbour.wait()
        time.sleep(self.seconds)  # noqa: ASYNC251 - the fault under test
        return await super().step(action)


class Patient(Turns):
    """A step that takes its time without blocking: nearly all of what it may take."""

    neighbour: asyncio.Event

    async def step(self, action: Action) -> StepResult:
        self.neighbour.set()
        await asyncio.sleep(0.1)
        return await super().step(action)


async def test_a_step_that_blocks_the_loop_is_named_and_charged_and_nobody_else_is(tmp_path: Path) -> None:
    neighbour = asyncio.Event()
    Blocking.neighbour = Patient.neighbour = neighbour
    Blocking.seconds = 1.3
    config = RolloutConfig(environment_timeout=1.0, stall_threshold=0.1)
    make_env = make_from(blocking=Blocking, patient=Patient)
    wanted = flatten([requests(spec("blocking"), 1), requests(spec("patient"), 5)])
    with Journal.open(tmp_path / "journal.sqlite") as journal:
        async with RolloutEngine(Scripted(), config, journal, make_env=make_env) as engine:
            episodes = {episode.key.environment: episode for episode in await engine.collect(wanted)}
            stall = max(engine.stats.stalls, key=lambda stall: stall.seconds)
        blocked = episodes["blocking-v0"]
        assert any("blocked the event loop" in note for note in journal.notes(blocked.id))
    assert episodes["patient-v0"].status is Status.OK
    assert (blocked.status, blocked.stop_reason) == (Status.TIMEOUT, StopReason.CALL_TIMEOUT)
    assert stall.where == "blocking-v0.step"
    assert "test_faults.py" in stall.code
    assert stall.code.endswith("in step")
    assert stall.seconds > 1.0


async def test_a_blocking_tool_among_several_of_one_turn_is_traced_to_its_environment() -> None:
    class Tooled(ChatEnv):
        @tool
        async def quick(self) -> str:
            """Answers."""
            return "quick"

        @tool
        async def blocking(self) -> str:
            """Blocks."""
            time.sleep(0.5)  # noqa: ASYNC251 - the fault under test
            return "slow"

    class Calling(Scripted):
        async def complete(self, messages: Any, *_: object) -> Completion:
            calls = ToolCall("1", "quick", "{}"), ToolCall("2", "blocking", "{}")
            return Completion(assistant("done") if len(messages) > 1 else assistant(None, *calls))

    config = RolloutConfig(stall_threshold=0.1)
    async with RolloutEngine(Calling(), config, make_env=lambda _: Tooled()) as engine:
        (episode,) = await engine.collect(requests(spec("tooled"), 1))
        stall = max(engine.stats.stalls, key=lambda stall: stall.seconds)
    assert episode.status is Status.OK
    assert stall.where == "tooled-v0.step"
    assert stall.code.endswith("in blocking")


async def test_a_stall_is_charged_once_where_two_engines_share_the_loop() -> None:
    class Blocking(Turns):
        async def step(self, action: Action) -> StepResult:
            time.sleep(0.5)  # noqa: ASYNC251 - the fault under test
            return await super().step(action)

    config = RolloutConfig(environment_timeout=0.8, stall_threshold=0.1)
    async with (
        RolloutEngine(Scripted(), config, make_env=lambda _: Turns()) as idle,
        RolloutEngine(Scripted(), config, make_env=lambda _: Blocking()) as engine,
    ):
        (episode,) = await engine.collect(requests(HEALTHY, 1))
        for one in (idle, engine):
            await settle(lambda one=one: any(stall.where == "turns-v0.step" for stall in one.stats.stalls))  # type: ignore[misc]
    assert episode.status is Status.OK


async def test_an_engine_can_be_opened_again() -> None:
    engine = RolloutEngine(Scripted(), make_env=lambda _: Turns())
    for _ in range(2):
        async with engine:
            assert len(await engine.collect(requests(HEALTHY, 2))) == 2
