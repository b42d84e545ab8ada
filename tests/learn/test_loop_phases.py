"""What happens between two updates besides rollouts: alarms that are heeded, and phases of imitation."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from agentenv.errors import ConfigError  # noqa: E402
from agentenv.learn.config.alarms import AlarmAction  # noqa: E402
from agentenv.learn.events import AlarmRaised, Imitated, TrainEvent  # noqa: E402
from agentenv.learn.metrics import MetricsFile  # noqa: E402
from tests.learn.runs import run, save_start  # noqa: E402


@pytest.fixture
def start(tmp_path: Path) -> Path:
    return save_start(tmp_path / "start")


# In this world every answer is as long as it may be, so every call runs into `max_tokens`.
CAPPED = {"capped_answers": {"at": 0.5, "action": "stop"}}


async def test_an_alarm_ends_the_run_with_a_checkpoint_and_says_why(start: Path, tmp_path: Path) -> None:
    events: list[TrainEvent] = []
    result, _ = await run(start, tmp_path / "run", events.append, alarms=CAPPED)
    assert result.stopped is not None
    assert result.stopped.startswith("capped_answers: 100% of the answers ran into max_tokens")
    assert result.iterations == 1
    assert result.last_folder.name == "iteration-000001"
    (raised,) = [event for event in events if isinstance(event, AlarmRaised)]
    assert (raised.iteration, raised.alarm.action) == (1, AlarmAction.STOP)


async def test_a_warning_goes_on_and_is_in_the_metrics(start: Path, tmp_path: Path) -> None:
    result, _ = await run(start, tmp_path / "run")
    assert result.stopped is None
    lines = [line for line in MetricsFile(tmp_path / "run" / "metrics.jsonl").read() if line["kind"] == "iteration"]
    assert all("capped_answers" in line["alarms"] for line in lines)
    assert not any(line["skipped"] for line in lines)


async def test_a_skipped_update_changes_nothing(start: Path, tmp_path: Path) -> None:
    skipping = {"capped_answers": {"at": 0.5, "action": "skip"}}
    _, policy = await run(start, tmp_path / "run", alarms=skipping, iterations=2)
    _, untouched = await run(start, tmp_path / "none", iterations=0)
    assert torch.equal(policy.weights(), untouched.weights())
    lines = [line for line in MetricsFile(tmp_path / "run" / "metrics.jsonl").read() if line["kind"] == "iteration"]
    assert [(line["skipped"], line["update"]["steps"]) for line in lines] == [(True, 0), (True, 0)]


async def test_a_phase_of_imitation_learns_the_successes_of_all_groups_so_far(start: Path, tmp_path: Path) -> None:
    events: list[TrainEvent] = []
    phase = {"after": [2], "at_least": 0.3, "steps": 2, "rows_per_step": 4}
    _, imitated = await run(start, tmp_path / "run", events.append, imitation=phase, iterations=2)
    _, plain = await run(start, tmp_path / "plain", iterations=2)
    (told,) = [event for event in events if isinstance(event, Imitated)]
    assert told.iteration == 2
    assert told.rows > 0
    assert not torch.equal(imitated.weights(), plain.weights())


async def test_gigpo_is_refused_for_an_environment_that_names_no_states(start: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not name its states"):
        await run(start, tmp_path / "run", advantage={"kind": "gigpo"})
