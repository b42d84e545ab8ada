"""The benchmark itself: its files, its splits, and what every ground truth is paid."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import agentenv
from agentenv.errors import ConfigError, MissingDataError
from agentenv.messages import Message
from agentenv.tasks import Task
from agentenv.tools import ToolError
from agentenv_tau2.data import FILES, VARIABLE, Domain, load_domain
from agentenv_tau2.env import Tau2
from agentenv_tau2.replay import Replayed, replay
from agentenv_tau2.rows import GoldCall, Row
from agentenv_tau2.verdict import replay_truth
from tests.environments.playing import call, play, play_oracle
from tests.tau2.shop import TASKS, write_domain

SIZES = {Domain.RETAIL: 114, Domain.MOCK: 10}
CHANGES_NOTHING = {
    Domain.RETAIL: {"10", "12", "24", "25", "50", "57", "62", "65", "67", "68", "105"},
    Domain.MOCK: {"create_task_1_nl_eval", "impossible_task_1"},
}
PAYS_TALK = {
    Domain.RETAIL: {"10", "12", "25", "50", "57", "65", "105"},
    Domain.MOCK: {"create_task_1_nl_eval"},
}


@pytest.fixture(params=list(Domain))
async def replayed(request: pytest.FixtureRequest, tau2_data: str) -> tuple[Domain, list[Replayed]]:
    return request.param, await replay(request.param, tau2_data, silent=True)


async def test_every_ground_truth_is_paid_in_full(replayed: tuple[Domain, list[Replayed]]) -> None:
    domain, played = replayed
    assert len(played) == SIZES[domain]
    assert {one.id: one.truth for one in played} == {one.id: 1.0 for one in played}


async def test_an_agent_that_only_talks_is_paid_where_it_misses_nothing(
    replayed: tuple[Domain, list[Replayed]],
) -> None:
    domain, played = replayed
    assert {one.id for one in played if not one.changes} == CHANGES_NOTHING[domain]
    assert {one.id for one in played if one.silent} == PAYS_TALK[domain]
    assert all(one.well for one in played)


async def test_a_ground_truth_of_another_customer_is_not_paid(tau2_data: str) -> None:
    """The calls of one task, made in the next: wherever both change something, they change something else."""
    files = load_domain(Domain.RETAIL, tau2_data)
    played = {one.id: one for one in await replay(Domain.RETAIL, tau2_data, silent=False)}
    rows = {id: row for id, row in files.rows.items() if played[id].changes}
    ends = {id: replay_truth(row, files.new_world)[0].fingerprint() for id, row in rows.items()}
    pairs = [(one, other) for one, other in zip(ends, list(ends)[1:], strict=False) if ends[one] != ends[other]]
    assert len(pairs) > 60
    for one, other in pairs[::10]:
        env = Tau2("retail", tau2_data)
        talk: list[Message | str] = [_call(gold) for gold in files.rows[other].evaluation_criteria.actions or ()]
        ended = await play(env, [*talk, "Anything else?"], files.rows[one].task("retail", "base"))
        assert ended.last.info["metrics"]["database"] == 0.0


def _call(gold: GoldCall) -> Message:
    return call(gold.name, json.dumps(dict(gold.arguments)))


async def test_two_ground_truths_ask_for_what_the_shop_refuses(tau2_data: str) -> None:
    """By hand: order #W7464385 is pending, and 2 kettles cost 21.10 more than 2 others, which 17.00 do not cover."""
    files = load_domain(Domain.RETAIL, tau2_data)
    played = {one.id: one.failed for one in await replay(Domain.RETAIL, tau2_data, silent=False)}
    assert {id for id, failed in played.items() if "exchange_delivered_order_items" in failed} == {"64", "105"}
    raw = json.loads((Path(tau2_data) / "retail" / "db.json").read_text())
    assert raw["orders"]["#W7464385"]["status"] == "pending"
    prices = {
        id: variant["price"] for product in raw["products"].values() for id, variant in product["variants"].items()
    }
    order = raw["orders"]["#W4316152"]
    old = [item["price"] for item in order["items"] if item["item_id"] == "7292993796"]
    assert round(prices["3761330360"] + prices["9647374798"] - sum(old), 2) == 21.1
    assert raw["users"][order["user_id"]]["payment_methods"]["gift_card_7245904"]["balance"] == 17
    world = files.new_world()
    with pytest.raises(ToolError, match=r"\$17.00 left, which does not cover \$21.10"):
        world.call(
            "exchange_delivered_order_items", (files.rows["105"].evaluation_criteria.actions or ())[-1].arguments
        )


def test_the_splits_are_the_benchmarks_own(tau2_data: str) -> None:
    env = agentenv.make("tau2/retail-v0", data=tau2_data)
    ids = {split: [task.id for task in env.tasks(split)] for split in ("train", "test", "base")}
    assert [len(found) for found in ids.values()] == [74, 40, 114]
    assert set(ids["train"]) | set(ids["test"]) == set(ids["base"])
    assert {task.split for task in env.tasks("test")} == {"test"}
    with pytest.raises(ConfigError, match="train, test, base, not 'dev'"):
        env.tasks("dev")
    mock = agentenv.make("tau2/mock-v0", data=tau2_data)
    assert [task.id for task in mock.tasks("train")] == [task.id for task in mock.tasks("base")]
    assert mock.tasks("base").size == 10


@pytest.mark.parametrize("domain", list(Domain))
def test_a_task_survives_json_and_is_the_same_row_again(domain: Domain, tau2_data: str) -> None:
    for task in Tau2(domain, tau2_data).tasks("base"):
        again = Task.from_json(task.to_json())
        assert again == task
        assert Row.of(again).task(domain, "base") == task


def test_without_data_one_is_told_what_to_get_and_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(MissingDataError, match=r"github\.com/sierra-research/tau2-bench.*AGENTENV_TAU2"):
        Tau2("retail").tasks()
    with pytest.raises(MissingDataError, match=r"There is no .*retail/db\.json"):
        Tau2("retail", str(tmp_path)).tasks()


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    folder = write_domain(tmp_path)
    (folder / "retail" / name).unlink()
    with pytest.raises(MissingDataError, match=f"There is no .*{name}"):
        load_domain(Domain.RETAIL, folder)


async def test_the_folder_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, small: str) -> None:
    monkeypatch.setenv(VARIABLE, small)
    assert (await play_oracle(Tau2("retail"))).total == 1.0


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    folder = write_domain(tmp_path)
    before = load_domain(Domain.RETAIL, folder)
    assert load_domain(Domain.RETAIL, folder) is before
    file = folder / "retail" / "policy.md"
    file.write_text("Be strict.")
    os.utime(file, ns=(1, 1))
    assert load_domain(Domain.RETAIL, folder).policy == "Be strict."


def _with(**criteria: Any) -> list[dict[str, Any]]:
    return [{**TASKS[0], "evaluation_criteria": {**TASKS[0]["evaluation_criteria"], **criteria}}]


@pytest.mark.parametrize(
    ("tasks", "why"),
    [
        (_with(reward_basis=["DB", "POLITENESS"]), "reward_basis"),
        (_with(rubric=[]), "rubric: Extra inputs"),
        (_with(actions=[{"action_id": "1", "name": "cancel_order", "arguments": {}}]), "no function 'cancel_order'"),
        (
            _with(env_assertions=[{"env_type": "assistant", "func_name": "assert_rich", "arguments": {}}]),
            "no assertion 'assert_rich'",
        ),
        ([{**TASKS[0], "initial_state": {"initialization_data": {"user_data": {}}}}], "user_data: Extra inputs"),
        ([{"id": "x"}], "user_scenario"),
    ],
)
def test_what_this_package_does_not_know_is_refused_by_name(tmp_path: Path, tasks: Any, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        load_domain(Domain.RETAIL, write_domain(tmp_path, tasks))


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("db.json", "{", r"db\.json is not what tau2-bench has there"),
        ("db.json", '{"products": {}}', r"db\.json is not what tau2-bench has there"),
        ("tasks.json", "[1]", r"tasks\.json"),
        ("split_tasks.json", "[]", r"split_tasks\.json"),
        ("split_tasks.json", '{"base": ["nobody"]}', "names 'nobody', which is no task"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, name: str, text: str, why: str) -> None:
    folder = write_domain(tmp_path)
    (folder / "retail" / name).write_text(text)
    with pytest.raises(ConfigError, match=why):
        load_domain(Domain.RETAIL, folder)
