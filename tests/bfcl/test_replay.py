"""All 800 ground truths, what is none, and BFCL's own checker on the same conversations."""

from __future__ import annotations

import itertools
import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agentenv.errors import ConfigError
from agentenv.registry import make
from agentenv.tasks import Task
from agentenv_bfcl.__main__ import app
from agentenv_bfcl.replay import ID, SPLIT, Calls, Played, Script, play, replay, replay_rate, script_of
from agentenv_bfcl.report import BEGIN, END, Line, markdown, remarks, write_between_markers
from agentenv_bfcl.scenarios import Category, scenario_of
from agentenv_bfcl.source import answers, questions
from tests.bfcl.installed import require_bfcl, their_multi_turn_checker

PAGE = Path(__file__).parents[2] / "docs" / "bfcl.md"


async def test_the_documented_table_is_what_a_replay_of_everything_gives() -> None:
    require_bfcl()
    lines = [Line(tuple([one async for one in replay(category, script)])) for script in Script for category in Category]
    for line in lines:
        assert len(line.played) == 200
        assert not any(one.surprising for one in line.played)
    for line in lines[:4]:
        assert all(one.full_marks for one in line.played)
    for line in lines[4:8]:
        assert not any(one.full_marks for one in line.played)
    assert PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip() == markdown(lines)


def test_no_ground_truth_of_bfcl_asks_for_nothing() -> None:
    require_bfcl()
    for category in Category:
        for task in list(make(ID, category=category.value).tasks(SPLIT))[::9]:
            assert not scenario_of(task).asks_for_nothing


@pytest.mark.parametrize("category", list(Category))
async def test_our_verdicts_are_those_of_bfcls_own_checker(category: Category, their_instances: None) -> None:
    require_bfcl()
    checker = their_multi_turn_checker()
    env = make(ID, category=category.value)
    tasks = list(env.tasks(SPLIT))
    rows = {row["id"]: row for row in questions(f"multi_turn_{category}")}
    truths = answers(f"multi_turn_{category}")
    rng, names, verdicts = random.Random(3), itertools.count(), {True: 0, False: 0}
    for index in range(0, len(tasks), 23):
        task = tasks[index]
        for script in [*(script_of(tasks, index, script) for script in Script), *_changed(tasks, index, rng)]:
            ours = await play(env, task, script) == 1.0
            theirs = checker.multi_turn_checker(
                [[_written(calls)] if calls else [] for calls in script],
                truths[task.id],
                rows[task.id],
                f"multi_turn_{category}",
                f"model{next(names)}",
            )["valid"]
            assert ours == theirs, (task.id, script)
            verdicts[theirs] += 1
    assert min(verdicts.values()) >= 9, verdicts


@pytest.fixture
def their_instances() -> Iterator[None]:
    """BFCL keeps the simulators it makes for ever; these are removed again."""
    require_bfcl()
    their_multi_turn_checker()
    registry = vars(sys.modules["bfcl_eval.eval_checker.multi_turn_eval.multi_turn_utils"])
    before = set(registry)
    yield
    for name in set(registry) - before:
        del registry[name]


def _changed(tasks: Sequence[Task], index: int, rng: random.Random) -> list[list[Calls]]:
    """The ground truth with the calls of each turn reversed, with one call less, and with one more."""
    truth = script_of(tasks, index, Script.TRUTH)
    spoken = [turn for turn, calls in enumerate(truth) if calls]
    fewer, more = list(truth), list(truth)
    turn = rng.choice(spoken)
    fewer[turn] = fewer[turn][1:]
    more[rng.randrange(len(more))] = (*more[rng.choice(spoken)], rng.choice(truth[rng.choice(spoken)]))
    return [[calls[::-1] for calls in truth], fewer, more]


def _written(calls: Calls) -> list[str]:
    """Calls as BFCL's handlers write them, for its checker to evaluate."""
    return [
        f"{call.function}({', '.join(f'{name}={value!r}' for name, value in json.loads(call.arguments).items())})"
        for call in calls
    ]


def test_the_command_plays_a_category_and_says_by_its_end_whether_all_is_well() -> None:
    require_bfcl()
    done = CliRunner().invoke(app, ["replay", "--category", "base"])
    assert done.exit_code == 0, done.output
    assert "ground truth" in done.output
    assert "1,142" in done.output
    assert CliRunner().invoke(app, ["replay", "--category", "base", "--no-op"]).exit_code == 0
    assert CliRunner().invoke(app, ["replay", "--category", "vase"]).exit_code == 1


def test_the_command_fails_when_a_ground_truth_does_not_get_full_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    require_bfcl()
    monkeypatch.setattr("agentenv_bfcl.simulators.Worlds.differ", lambda self, state: True)
    assert CliRunner().invoke(app, ["replay", "--category", "base"]).exit_code == 1


def played(task_id: str, script: Script, *, full: bool, due: bool) -> Played:
    return Played(f"multi_turn_{task_id}", Category.BASE, script, full, 2, due)


def test_full_marks_are_surprising_where_they_are_not_due_and_their_absence_where_they_are() -> None:
    assert not played("base_1", Script.TRUTH, full=True, due=True).surprising
    assert played("base_1", Script.TRUTH, full=False, due=True).surprising
    assert played("base_1", Script.OTHER_TURNS, full=True, due=False).surprising
    assert not played("base_1", Script.OTHER_TURNS, full=False, due=False).surprising
    assert not played("base_139", Script.OTHER_TURNS, full=True, due=False).surprising
    assert played("base_139", Script.NO_OP, full=True, due=False).surprising


def test_the_report_has_a_row_for_each_line_and_names_what_stands_out() -> None:
    truth = Line((played("base_1", Script.TRUTH, full=True, due=True),))
    other = Line(
        (
            played("base_1", Script.OTHER_TURNS, full=True, due=True),
            played("base_2", Script.OTHER_TURNS, full=True, due=False),
            played("base_3", Script.OTHER_TURNS, full=False, due=False),
        )
    )
    said = remarks([truth, other])
    assert said == [
        "turns moved by one: the same as the ground truth, and so full marks: base_1",
        "turns moved by one: full marks although it is not the ground truth: base_2",
    ]
    rows = markdown([truth, other]).splitlines()
    assert rows[2:4] == ["| ground truth | base | 1 | 2 | 1 |", "| turns moved by one | base | 3 | 6 | 2 |"]
    assert rows[5:] == [f"- {sentence}" for sentence in said]


def test_a_page_keeps_everything_but_what_is_between_its_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"Before.\n{BEGIN}\nold\n{END}\nAfter.\n")
    write_between_markers(page, "new")
    assert page.read_text() == f"Before.\n{BEGIN}\nnew\n{END}\nAfter.\n"
    for broken in ("", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"):
        page.write_text(broken)
        with pytest.raises(ConfigError, match="each once"):
            write_between_markers(page, "new")
    with pytest.raises(ConfigError, match="no page"):
        write_between_markers(tmp_path / "none.md", "new")


async def test_the_rate_counts_every_call_of_the_ground_truths() -> None:
    require_bfcl()
    first, later = await replay_rate(Category.BASE, repeats=2)
    assert (first.calls, later.calls) == (1142, 2 * 1142)
    assert later.per_second == pytest.approx(later.calls / later.seconds)
    assert later.per_processor_second == pytest.approx(later.calls / later.processor_seconds)


def test_the_program_of_the_page_runs() -> None:
    require_bfcl()
    (program,) = re.findall(r"```python\n(import .*?\n)```\n", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
