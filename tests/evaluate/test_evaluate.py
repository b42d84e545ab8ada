from __future__ import annotations

import asyncio
import io
import json
import os
import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from agentenv.env import Action, StepResult
from agentenv.errors import ConfigError, EnvironmentFailure, ModelError
from agentenv.evaluate import Evaluation, Progress, draw_tasks, evaluate, read_protocol, render
from agentenv.messages import Message
from agentenv.policy.contract import Sampling, Session
from agentenv.policy.scripted import CallablePolicy, OraclePolicy
from agentenv.registry import EnvSpec
from agentenv.rollout import Journal, RolloutEngine
from agentenv.threads import THREADS
from tests.evaluate.quiz import DRAWN, EMPTY, ENDLESS, QUIZ, SIZE, SLOW, Quiz


class Student(CallablePolicy):
    """Knows the answers below `known`, and counts how often each question was asked."""

    def __init__(self, known: int = 6, failing: Sequence[str] = ()) -> None:
        super().__init__(self._reply, name="student")
        self.known = known
        self.failing = set(failing)
        self.asked: Counter[str] = Counter()

    def _reply(self, messages: Sequence[Message], tools: Any, session: Session) -> str:
        number = messages[-1].text.removeprefix("Say ").removesuffix(".")
        self.asked[f"q{number}"] += 1
        if f"q{number}" in self.failing:
            raise ModelError("the student is asleep")
        return number if int(number) < self.known else "?"


async def run(policy: Student, spec: EnvSpec = QUIZ, **options: Any) -> Evaluation:
    return await evaluate(spec, policy, tasks=options.pop("tasks", SIZE), **options)


async def test_the_numbers_are_those_of_the_episodes() -> None:
    evaluation = await run(Student(known=6), samples=2)
    assert (evaluation.planned, evaluation.scored, evaluation.unscored, evaluation.complete) == (24, 24, 0, True)
    assert evaluation.reward.mean == 0.5
    # deviations of the twelve tasks are ±2 · 0.5: SE = sqrt(12/11 · 12) / 24
    assert evaluation.reward.standard_error == pytest.approx((12 / 11 * 12) ** 0.5 / 24)
    assert evaluation.success.rate == 0.5
    assert evaluation.statuses == {"ok": 24}
    assert evaluation.components == {"correct": 0.5, "length": 1.0}
    assert evaluation.averages is not None
    assert evaluation.averages.turns == 1.0


async def test_failures_are_counted_apart_and_never_as_zeros() -> None:
    spec = QUIZ.with_kwargs(broken=["q1"])
    evaluation = await run(Student(known=SIZE, failing=["q2", "q3"]), spec)
    assert (evaluation.scored, evaluation.unscored, evaluation.complete) == (SIZE - 3, 3, False)
    assert evaluation.reward.mean == 1.0
    assert evaluation.statuses == {"ok": SIZE - 3, "model_error": 2, "env_error": 1}
    assert [failure.count for failure in evaluation.failures] == [2, 1]
    screen = io.StringIO()
    render(evaluation, Console(file=screen, width=120))
    assert "3 of 12 episodes were NOT scored" in screen.getvalue()
    assert "2 × model_error: the student is asleep" in screen.getvalue()


@pytest.mark.parametrize("reported", [3, ["q1"], {"success": "yes"}, [{"error": "x"}, 7]])
async def test_whatever_an_environment_reports_does_not_end_an_evaluation(
    monkeypatch: pytest.MonkeyPatch, reported: Any
) -> None:
    step = Quiz.step

    async def chatty(self: Quiz, action: Action) -> StepResult:
        return (await step(self, action))._replace(info={"metrics": reported, "tools": reported})

    monkeypatch.setattr(Quiz, "step", chatty)
    evaluation = await run(Student(known=6))
    assert (evaluation.scored, evaluation.reward.mean, evaluation.metrics) == (12, 0.5, {})


async def test_an_environment_that_blocks_the_event_loop_is_named_although_its_episodes_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = Quiz.step

    async def blocking(self: Quiz, action: Action) -> StepResult:
        if self.task.id == "q0":
            time.sleep(0.8)  # noqa: ASYNC251 - the fault under test
        return await step(self, action)

    monkeypatch.setattr(Quiz, "step", blocking)
    evaluation = await run(Student(known=6))
    assert evaluation.complete
    (found,) = evaluation.blocking
    assert (found.where, found.count) == ("quiz-v0.step", 1)
    assert found.code.endswith("in blocking")
    screen = io.StringIO()
    render(evaluation, Console(file=screen, width=300))
    assert re.search(r"! quiz-v0\.step blocked the event loop for [\d.]+ s, at .*in blocking", screen.getvalue())
    assert json.loads(json.dumps(evaluation.to_json()))["blocking"][0]["where"] == "quiz-v0.step"


async def test_with_nothing_scored_there_is_no_mean() -> None:
    evaluation = await run(Student(failing=[f"q{index}" for index in range(SIZE)]))
    assert (evaluation.reward.mean, evaluation.success.rate, evaluation.averages) == (None, None, None)
    screen = io.StringIO()
    render(evaluation, Console(file=screen, width=120))
    assert "nothing was scored" in screen.getvalue()
    json.dumps(evaluation.to_json(), allow_nan=False)


async def test_the_same_call_again_plays_nothing_twice(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = await run(Student(), run_folder=folder)
    student = Student()
    again = await run(student, run_folder=folder)
    assert not student.asked
    assert again.reward == first.reward
    assert json.loads((folder / "summary.json").read_text())["reward"]["mean"] == 0.5


async def test_a_run_that_broke_off_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "run"

    class Stop(Exception):
        pass

    def stop_at_five(progress: Progress) -> None:
        if progress.done == 5:
            raise Stop

    first, second = Student(), Student()
    with pytest.raises(Stop):
        await run(first, run_folder=folder, on_progress=stop_at_five)
    evaluation = await run(second, run_folder=folder)
    assert evaluation.complete
    assert sum(second.asked.values()) <= SIZE - 5
    assert set(first.asked) | set(second.asked) == {f"q{index}" for index in range(SIZE)}


async def test_what_failed_stays_failed_until_it_is_retried_on_request(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert (await run(Student(failing=["q2", "q3"]), run_folder=folder)).unscored == 2

    healed = Student()
    assert (await run(healed, run_folder=folder)).unscored == 2
    assert not healed.asked

    retried = await run(healed, run_folder=folder, retry_errored=True)
    assert (retried.unscored, retried.complete) == (0, True)
    assert healed.asked == {"q2": 1, "q3": 1}

    assert (await run(Student(), run_folder=folder)).complete


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tasks": 5}, "tasks: 12 ≠ 5"),
        ({"seed": 1}, "seed: 0 ≠ 1"),
        ({"split": "dev"}, 'split: "test" ≠ "dev"'),
        ({"sampling": Sampling(temperature=0.5)}, "sampling.temperature: null ≠ 0.5"),
        ({"spec": QUIZ.with_kwargs(broken=["q1"])}, 'kwargs.broken: (not set) ≠ ["q1"]'),
    ],
)
async def test_a_folder_of_another_protocol_is_refused_with_what_differs(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    folder = tmp_path / "run"
    await run(Student(), run_folder=folder)
    with pytest.raises(ConfigError) as caught:
        await run(Student(), run_folder=folder, **change)
    assert said in str(caught.value)
    assert "another protocol" in str(caught.value)


async def test_the_protocol_is_written_down_with_its_hash(tmp_path: Path) -> None:
    await run(Student(), run_folder=tmp_path / "run", sampling=Sampling(temperature=0.7))
    written = json.loads((tmp_path / "run" / "config.json").read_text())
    protocol = read_protocol(tmp_path / "run")
    assert written["protocol_hash"] == protocol.hash
    assert (protocol.environment, protocol.policy, protocol.sampling["temperature"]) == ("quiz-v0", "student", 0.7)


@pytest.mark.parametrize(("name", "text"), [("notes.txt", "mine"), ("config.json", "{"), ("config.json", "{}")])
async def test_a_folder_that_is_something_else_is_left_alone(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=r"no run folder|damaged"):
        await run(Student(), run_folder=tmp_path)
    assert os.listdir(tmp_path) == [name]


async def test_progress_tells_of_every_episode() -> None:
    seen: list[Progress] = []
    await run(Student(known=SIZE, failing=["q0"]), on_progress=seen.append)
    assert [progress.done for progress in seen] == list(range(1, SIZE + 1))
    assert (seen[-1].scored, seen[-1].unscored, seen[-1].mean) == (SIZE - 1, 1, 1.0)


async def test_the_oracle_reaches_full_marks() -> None:
    evaluation = await evaluate(QUIZ, OraclePolicy(), tasks=5, samples=3)
    assert (evaluation.reward.mean, evaluation.success.rate, evaluation.planned) == (1.0, 1.0, 15)


async def test_tasks_depend_on_the_seed_alone_and_are_never_the_same_twice() -> None:
    first = await draw_tasks(ENDLESS, split="train", count=20, seed=1)
    assert len({task.id for task in first}) == len(first) == 20
    assert first == await draw_tasks(ENDLESS, split="train", count=20, seed=1)
    assert first != await draw_tasks(ENDLESS, split="train", count=20, seed=2)


async def test_a_source_with_fewer_tasks_gives_what_it_has() -> None:
    assert len(await draw_tasks(QUIZ, split="test", count=100, seed=0)) == SIZE
    assert 20 <= len(await draw_tasks(ENDLESS, split="train", count=100, seed=0)) <= 41


async def test_a_source_that_only_repeats_itself_is_not_asked_for_ever() -> None:
    DRAWN.clear()
    assert 1 <= len(await draw_tasks(SLOW, split="train", count=10_000, seed=0)) <= 5
    assert len(DRAWN) < 5_000


async def test_drawing_blocks_nobody_and_ends_when_it_is_given_up() -> None:
    DRAWN.clear()
    drawing = asyncio.create_task(draw_tasks(SLOW, split="train", count=10_000, seed=0))
    while not DRAWN:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)
    drawing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await drawing
    assert THREADS.wait_until_idle(10.0)
    assert len(DRAWN) < 1_000


async def test_an_empty_or_broken_split_is_one_clear_error() -> None:
    with pytest.raises(ConfigError, match="no tasks in the split 'test'"):
        await draw_tasks(EMPTY, split="test", count=5, seed=0)
    with pytest.raises(EnvironmentFailure, match=r"empty-v0.tasks\('explode'\) raised RuntimeError: no such file"):
        await draw_tasks(EMPTY, split="explode", count=5, seed=0)


async def test_an_evaluation_through_an_open_engine_leaves_no_trace_in_its_journal_and_is_never_answered_from_it(
    tmp_path: Path,
) -> None:
    student = Student()
    plain = await run(student)
    with Journal.open(tmp_path / "journal.sqlite") as journal:
        async with RolloutEngine(student, journal=journal) as engine:
            through = [await run(student, engine=engine) for _ in range(2)]
            assert engine.stats.from_journal == 0
        assert sum(1 for _ in journal.episodes()) == 0
    assert [evaluation.reward for evaluation in through] == [plain.reward] * 2
    assert set(student.asked.values()) == {3}


async def test_an_evaluation_through_an_open_engine_has_no_folder_of_its_own(tmp_path: Path) -> None:
    async with RolloutEngine(Student()) as engine:
        with pytest.raises(ValueError, match="keeps nothing"):
            await run(Student(), engine=engine, run_folder=tmp_path)
