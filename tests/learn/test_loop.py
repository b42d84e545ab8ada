"""The training loop: it learns, leaves a complete record, and a killed run goes on as if it had not been."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from agentenv.errors import ConfigError  # noqa: E402
from agentenv.learn.checkpoints import Checkpoints  # noqa: E402
from agentenv.learn.config import TrainConfig  # noqa: E402
from agentenv.learn.errors import LearnError  # noqa: E402
from agentenv.learn.events import (  # noqa: E402
    CheckpointSaved,
    EpisodeFinished,
    Evaluated,
    IterationFinished,
    RunStarted,
    TrainEvent,
)
from agentenv.learn.loop import train  # noqa: E402
from agentenv.learn.metrics import MetricsFile  # noqa: E402
from agentenv.learn.model import load_model  # noqa: E402
from agentenv.outcome import Status  # noqa: E402
from agentenv.rollout import Journal  # noqa: E402
from tests.learn.letters import DirectPolicy  # noqa: E402
from tests.learn.runs import config, run, save_start  # noqa: E402


@pytest.fixture
def start(tmp_path: Path) -> Path:
    return save_start(tmp_path / "start")


async def test_training_raises_the_reward_and_keeps_the_best_model(start: Path, tmp_path: Path) -> None:
    result, _ = await run(start, tmp_path / "run", iterations=30, siblings=8, evaluation={"every": 5, "tasks": 2})
    lines = MetricsFile(tmp_path / "run" / "metrics.jsonl").read()
    rewards = [line["reward_mean"] for line in lines if line["kind"] == "iteration"]
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 0.2
    evaluations = [line["reward"]["mean"] for line in lines if line["kind"] == "evaluation"]
    assert result.best_reward == max(evaluations) > evaluations[0]


async def test_a_run_leaves_its_configuration_journal_metrics_and_checkpoints(start: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    events: list[TrainEvent] = []
    result, policy = await run(start, folder, events.append)
    assert TrainConfig.model_validate(json.loads((folder / "config.json").read_text())) == config()
    with Journal.open(folder / "journal.sqlite", create=False) as journal:
        assert sum(1 for _ in journal.episodes(Status.OK)) == 4 * 3 * 4
    lines = MetricsFile(folder / "metrics.jsonl").read()
    assert [(line["kind"], line["iteration"]) for line in lines] == [
        ("evaluation", 0),
        ("iteration", 1),
        ("iteration", 2),
        ("evaluation", 2),
        ("iteration", 3),
        ("iteration", 4),
        ("evaluation", 4),
    ]
    # Two turns are one exact chain: one row per episode, every call in it.
    assert all(line["rows"] == 12 and line["excluded"] == {} for line in lines if line["kind"] == "iteration")
    assert all(line["update"]["mismatch_max"] < 1e-4 for line in lines if line["kind"] == "iteration")
    assert all(line["staleness_mean"] == 0 for line in lines if line["kind"] == "iteration")
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == sorted(
        {"iteration-000002", "iteration-000004", result.best_folder.name}
    )
    assert (result.best_folder / "tokenizer.json").is_file()
    saved = torch.cat([tensor.flatten() for tensor in load_model(result.last_folder).state_dict().values()])
    assert torch.equal(saved, policy.weights())
    assert policy.version == 4
    kinds = [type(event) for event in events]
    assert kinds[:2] == [RunStarted, Evaluated]
    assert kinds.count(EpisodeFinished) == 48
    assert (kinds.count(IterationFinished), kinds.count(CheckpointSaved)) == (4, 2)


class Killed(Exception):
    """Stands for whatever ended the process."""


MOMENTS: dict[str, Callable[[TrainEvent], bool]] = {
    "before the first iteration": lambda event: isinstance(event, Evaluated) and event.iteration == 0,
    "in the middle of the first iteration": lambda event: isinstance(event, EpisodeFinished) and event.done == 5,
    "in the middle of the third iteration": (
        lambda event: isinstance(event, EpisodeFinished) and (event.iteration, event.done) == (3, 7)
    ),
    "after an update that no checkpoint holds": (
        lambda event: isinstance(event, IterationFinished) and event.metrics.iteration == 3
    ),
    "before the evaluation of an iteration is followed by its checkpoint": (
        lambda event: isinstance(event, Evaluated) and event.iteration == 2
    ),
    "right after a checkpoint": lambda event: isinstance(event, CheckpointSaved) and event.iteration == 2,
    "right after the last checkpoint": lambda event: isinstance(event, CheckpointSaved) and event.iteration == 4,
}


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_run_killed_at_any_moment_goes_on_as_if_it_had_not_been(
    moment: str, start: Path, tmp_path: Path
) -> None:
    whole, undisturbed = await run(start, tmp_path / "whole")

    def kill(event: TrainEvent) -> None:
        if MOMENTS[moment](event):
            raise Killed

    with pytest.raises(Killed):
        await run(start, tmp_path / "broken", kill)
    result, resumed = await run(start, tmp_path / "broken")
    assert torch.equal(resumed.weights(), undisturbed.weights())
    assert (result.iterations, result.best_iteration, result.best_reward) == (
        whole.iterations,
        whole.best_iteration,
        whole.best_reward,
    )
    assert result.best_folder.is_dir()
    for name in ("whole", "broken"):
        with Journal.open(tmp_path / name / "journal.sqlite", create=False) as journal:
            keys = [episode.key for episode in journal.episodes(Status.OK)]
            assert len(keys) == len(set(keys)) == 48
        accounts = json.loads((tmp_path / name / "accounting.json").read_text())
        assert (accounts["iteration"], accounts["summary"]["trained"]["episodes"]) == (4, 48)
    lines = {name: MetricsFile(tmp_path / name / "metrics.jsonl").read() for name in ("whole", "broken")}
    assert [_comparable(line) for line in lines["broken"]] == [_comparable(line) for line in lines["whole"]]


def _comparable(line: dict[str, Any]) -> Any:
    reward = line["reward_mean"] if line["kind"] == "iteration" else line["reward"]["mean"]
    return line["kind"], line["iteration"], pytest.approx(reward)


async def test_cancelling_is_safe_and_the_same_call_goes_on(start: Path, tmp_path: Path) -> None:
    _, undisturbed = await run(start, tmp_path / "whole")
    running: asyncio.Task[Any] | None = None

    def cancel(event: TrainEvent) -> None:
        if isinstance(event, EpisodeFinished) and (event.iteration, event.done) == (2, 12):
            assert running is not None
            running.cancel()  # takes effect when the update is awaited

    running = asyncio.create_task(run(start, tmp_path / "broken", cancel))
    with pytest.raises(asyncio.CancelledError):
        await running
    _, resumed = await run(start, tmp_path / "broken")
    assert torch.equal(resumed.weights(), undisturbed.weights())


async def test_a_finished_run_can_be_made_longer(start: Path, tmp_path: Path) -> None:
    await run(start, tmp_path / "run", iterations=2)
    events: list[TrainEvent] = []
    result, longer = await run(start, tmp_path / "run", events.append)
    _, whole = await run(start, tmp_path / "whole")
    assert isinstance(events[0], RunStarted)
    assert events[0].resumed_at == 2
    assert result.iterations == 4
    assert torch.equal(longer.weights(), whole.weights())


async def test_a_finished_run_plays_nothing_again(start: Path, tmp_path: Path) -> None:
    first, _ = await run(start, tmp_path / "run")
    events: list[TrainEvent] = []
    again, _ = await run(start, tmp_path / "run", events.append)
    assert again == first
    assert not any(isinstance(event, EpisodeFinished | IterationFinished) for event in events)


async def test_the_run_stops_when_its_target_is_reached(start: Path, tmp_path: Path) -> None:
    evaluation = {"every": 1, "tasks": 2, "stop_at": -1.0}
    result, _ = await run(start, tmp_path / "run", evaluation=evaluation)
    assert result.iterations == 0
    assert result.best_folder.is_dir()


async def test_a_run_that_reached_its_target_is_not_trained_further_when_called_again(
    start: Path, tmp_path: Path
) -> None:
    scout, _ = await run(start, tmp_path / "scout")
    assert scout.best_iteration > 0
    evaluation = {"every": 2, "split": "dev", "tasks": 2, "stop_at": scout.best_reward}
    wanted = config(iterations=9, evaluation=evaluation, final_test={"tasks": 2})
    first = await train(wanted, DirectPolicy(start), tmp_path / "run")
    assert 0 < first.iterations < 9
    again = await train(wanted, DirectPolicy(start), tmp_path / "run")
    assert (again.iterations, again.best_iteration) == (first.iterations, first.best_iteration)
    tests = [line for line in MetricsFile(tmp_path / "run" / "metrics.jsonl").read() if line["kind"] == "test"]
    assert [(line["name"], line["iteration"]) for line in tests] == [("before", 0), ("after", first.best_iteration)]


async def test_the_final_test_of_a_longer_run_is_that_of_its_own_best_model(start: Path, tmp_path: Path) -> None:
    """Episodes of an earlier best model must not be reported as those of a later one."""
    for iterations in (2, 6):
        wanted = config(iterations=iterations, final_test={"tasks": 2})
        result = await train(wanted, DirectPolicy(start), tmp_path / "run")
        assert result.after is not None
        assert result.after.iteration == result.best_iteration
        assert result.after.folder.name == f"test-after-{result.best_iteration:06d}"


async def test_another_configuration_is_refused_by_what_differs(start: Path, tmp_path: Path) -> None:
    await run(start, tmp_path / "run", iterations=1)
    with pytest.raises(ConfigError, match=r"learner\.lr: 0\.01 ≠ 0\.5"):
        await run(start, tmp_path / "run", iterations=1, learner={"lr": 0.5, "minibatches": 2})


async def test_a_run_in_which_every_episode_fails_stops_and_says_why(start: Path, tmp_path: Path) -> None:
    with pytest.raises(LearnError, match=r"no episode was scored\. 12 of 12 failed with: .*letters have run out"):
        await run(start, tmp_path / "run", environment_kwargs={"broken": True}, evaluation={"every": 9, "tasks": 1})


async def test_a_run_in_which_nothing_is_scored_stops_instead_of_training_on_zeros(start: Path, tmp_path: Path) -> None:
    with pytest.raises(LearnError, match="returned None, not scored, for every one"):
        await run(start, tmp_path / "run", environment_kwargs={"unscored": True})


async def test_more_tasks_than_the_split_has_are_refused(start: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs 5 different tasks, but the split has only 4"):
        await run(start, tmp_path / "run", tasks_per_iteration=5)


async def test_the_event_loop_turns_while_torch_works(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agentenv.learn.trainer import Trainer

    loop = asyncio.get_running_loop()
    turned: list[bool] = []
    plain = Trainer.update

    def waiting(self: Trainer, *arguments: Any, **keywords: Any) -> Any:
        # A blocked loop would never run this callback, and the wait would end without it.
        done = asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop)
        done.result(timeout=30)
        turned.append(True)
        return plain(self, *arguments, **keywords)

    monkeypatch.setattr(Trainer, "update", waiting)
    await run(start, tmp_path / "run", iterations=1)
    assert turned == [True]


async def test_checkpoints_are_never_seen_half_written(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies inside the second save; the first one is what the run goes on from."""
    _, undisturbed = await run(start, tmp_path / "whole")

    def die(*arguments: Any, **keywords: Any) -> None:
        raise Killed

    def kill_the_next_save(event: TrainEvent) -> None:
        if isinstance(event, CheckpointSaved):
            monkeypatch.setattr(torch, "save", die)

    with pytest.raises(Killed):
        await run(start, tmp_path / "broken", kill_the_next_save)
    monkeypatch.undo()
    latest = Checkpoints(tmp_path / "broken" / "checkpoints", start).latest()
    assert latest is not None
    assert latest.progress.iteration == 2
    _, resumed = await run(start, tmp_path / "broken")
    assert torch.equal(resumed.weights(), undisturbed.weights())


async def test_a_time_limit_ends_the_run_after_the_iteration_that_reaches_it(start: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result, _ = await run(start, folder, time_limit=1e-9)
    assert (result.iterations, result.stopped) == (1, None)
    assert Checkpoints(folder / "checkpoints", start).latest().progress.iteration == 1  # type: ignore[union-attr]
    # What was spent before counts again when the run is gone on with, and without a limit it goes to its end.
    spent = MetricsFile(folder / "metrics.jsonl").seconds()
    assert spent > 0
    result, _ = await run(start, folder, time_limit=spent)
    assert result.iterations == 1
    result, _ = await run(start, folder)
    assert result.iterations == 4
