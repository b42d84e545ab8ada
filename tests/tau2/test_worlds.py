"""Worlds: each its own, cheap to make, and equal exactly when they hold the same."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentenv.env import Action
from agentenv.errors import ConfigError
from agentenv_tau2.data import Domain, load_domain
from agentenv_tau2.env import Tau2
from agentenv_tau2.mock import Member, MockDatabase, MockWorld, Todo
from agentenv_tau2.retail.changes import RetailWorld
from agentenv_tau2.retail.records import GiftCard
from agentenv_tau2.rows import Assertion, GoldCall, Row, Side
from agentenv_tau2.tables import Record, Table
from agentenv_tau2.world import CALL_FAILED
from tests.environments.playing import play_oracle
from tests.tau2.shop import AWAY, shop

SHOP = shop()

CALLS = st.one_of(
    st.tuples(
        st.just("cancel_pending_order"),
        st.fixed_dictionaries(
            {
                "order_id": st.sampled_from(["#W1", "#W2", "#W4", "#W9"]),
                "reason": st.sampled_from(["no longer needed", "ordered by mistake"]),
            }
        ),
    ),
    st.tuples(
        st.sampled_from(["modify_pending_order_items", "exchange_delivered_order_items"]),
        st.fixed_dictionaries(
            {
                "order_id": st.sampled_from(["#W1", "#W2", "#W4"]),
                "item_ids": st.lists(st.sampled_from(["101", "201"]), max_size=2),
                "new_item_ids": st.lists(st.sampled_from(["102", "104", "202"]), max_size=2),
                "payment_method_id": st.sampled_from(["gift_card_1", "paypal_1"]),
            }
        ),
    ),
    st.tuples(
        st.just("modify_pending_order_payment"),
        st.fixed_dictionaries(
            {
                "order_id": st.sampled_from(["#W1", "#W4"]),
                "payment_method_id": st.sampled_from(["gift_card_1", "credit_card_1", "paypal_1"]),
            }
        ),
    ),
    st.tuples(st.just("modify_user_address"), st.just({"user_id": "ann_lee_1", **AWAY})),
    st.tuples(st.just("get_order_details"), st.just({"order_id": "#W1"})),
)


def make(world: RetailWorld, call: tuple[str, Mapping[str, Any]]) -> None:
    try:
        world.call(*call)
    except CALL_FAILED:
        return


@given(st.lists(st.tuples(st.integers(0, 2), CALLS), max_size=20))
def test_worlds_that_are_played_side_by_side_are_as_if_each_were_alone(moves: list[tuple[int, Any]]) -> None:
    together = [RetailWorld(SHOP) for _ in range(3)]
    for at, call in moves:
        make(together[at], call)
    for index, played in enumerate(together):
        alone = RetailWorld(SHOP)
        for at, call in moves:
            if at == index:
                make(alone, call)
        assert played.fingerprint() == alone.fingerprint()
    assert RetailWorld(SHOP).changed == ()


@given(st.lists(CALLS, max_size=10), st.lists(CALLS, max_size=10))
def test_a_world_goes_back_to_a_state_that_it_gave(before: list[Any], after: list[Any]) -> None:
    world = RetailWorld(SHOP)
    for call in before:
        make(world, call)
    state, there = world.state(), world.fingerprint()
    for call in after:
        make(world, call)
    elsewhere = RetailWorld(SHOP)
    for one in (world, elsewhere):
        one.take(state)
        assert one.fingerprint() == there


@given(st.lists(CALLS, max_size=10))
def test_money_is_neither_made_nor_lost(calls: list[Any]) -> None:
    """What a gift card has lost is what orders have got from it, to the cent."""
    world = RetailWorld(SHOP)
    for call in calls:
        make(world, call)
    card = world.get_user_details("ann_lee_1").payment_methods["gift_card_1"]
    assert isinstance(card, GiftCard)
    paid = 0.0
    for id in ("#W1", "#W2", "#W4"):
        for one in world.get_order_details(id).payment_history:
            if one.payment_method_id == "gift_card_1":
                paid += one.amount if one.transaction_type.value == "payment" else -one.amount
    assert card.balance == pytest.approx(2.0 - (paid - 5.0), abs=0.001)  # #W4 was paid for 5 before
    assert card.balance >= 0


def test_a_change_that_is_taken_back_leaves_no_trace() -> None:
    world = RetailWorld(SHOP)
    untouched = world.fingerprint()
    world.call("modify_user_address", {"user_id": "ann_lee_1", **AWAY})
    assert world.changed == ("users/ann_lee_1",)
    assert world.fingerprint() != untouched
    home = SHOP.users["ann_lee_1"].address.model_dump()
    world.call("modify_user_address", {"user_id": "ann_lee_1", **home})
    assert world.fingerprint() == untouched
    assert not world.changed


def test_worlds_over_different_files_are_never_equal() -> None:
    other = RetailWorld(type(SHOP)("another", SHOP.products, SHOP.users, SHOP.orders, SHOP.variants))
    assert RetailWorld(SHOP).fingerprint() != other.fingerprint()


class Pair(Record):
    value: int


IDS = st.sampled_from("abcd")


@given(st.dictionaries(IDS, st.integers()), st.lists(st.tuples(IDS, st.integers())))
def test_a_table_reads_like_a_dictionary_and_leaves_what_it_shares_alone(
    shared: dict[str, int], sets: list[tuple[str, int]]
) -> None:
    records = {id: Pair(value=value) for id, value in shared.items()}
    table, model = Table(Pair, records), {id: Pair(value=value) for id, value in shared.items()}
    for id, value in sets:
        table[id] = model[id] = Pair(value=value)
    assert (dict(table), len(table), sorted(table)) == (model, len(model), sorted(model))
    assert all((id in table) is (id in model) for id in "abcd")
    assert records == {id: Pair(value=value) for id, value in shared.items()}
    assert table.differences == {id: model[id] for id in sorted(model) if records.get(id) != model[id]}


async def test_five_hundred_episodes_side_by_side_each_keep_their_own_world(tau2_data: str) -> None:
    """Eight tasks of different customers in many episodes at once: each ends as the task alone says, and is paid."""
    tasks = list(Tau2("retail", tau2_data).tasks("test").head(8))

    async def one(index: int) -> tuple[float, str, tuple[str, ...]]:
        env = Tau2("retail", tau2_data)
        task = tasks[index % len(tasks)]
        opening, _ = await env.reset(task=task, seed=index)
        assert opening.messages
        total = 0.0
        while True:
            await asyncio.sleep(0)
            result = await env.step(Action(env.oracle()))
            total += result.reward or 0.0
            if result.terminated:
                return total, task.id, env.world.changed

    ends = await asyncio.gather(*[one(index) for index in range(500)])
    assert {total for total, _, _ in ends} == {1.0}
    by_task = {id: {changed for _, played, changed in ends if played == id} for _, id, _ in ends}
    assert all(len(found) == 1 for found in by_task.values())
    assert len({next(iter(found)) for found in by_task.values()}) > 1


def test_a_world_of_the_whole_benchmark_takes_kilobytes_not_megabytes(tau2_data: str) -> None:
    files = load_domain(Domain.RETAIL, tau2_data)
    files.new_world()
    tracemalloc.start()
    try:
        worlds = [files.new_world() for _ in range(100)]
        for world in worlds:
            world.call("get_order_details", {"order_id": "#W2378156"})
        size = tracemalloc.get_traced_memory()[0] / len(worlds)
    finally:
        tracemalloc.stop()
    assert size < 20_000  # the file has 2.8 MB


def mock_world() -> MockWorld:
    tasks = {"task_1": Todo(task_id="task_1", title="Old")}
    return MockWorld(MockDatabase("by hand", tasks, {"user_1": Member(user_id="user_1", name="A", tasks=("task_1",))}))


def row(**state: Any) -> Row:
    raw = {"id": "t", "user_scenario": {"instructions": "Wait."}, "evaluation_criteria": {"actions": []}}
    return Row.model_validate({**raw, "initial_state": state})


def test_mock_tasks_are_numbered_and_belong_to_their_user() -> None:
    world = mock_world()
    created = world.call("create_task", {"user_id": "user_1", "title": "New"})
    assert (created.task_id, created.status) == ("task_2", "pending")
    assert '"tasks": ["task_1", "task_2"]' in world.call("get_users", {})
    assert world.call("update_task_status", {"task_id": "task_2", "status": "completed"}).status == "completed"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("create_task", {"user_id": "user_2", "title": "New"}),
        ("update_task_status", {"task_id": "task_2", "status": "completed"}),
        ("update_task_status", {"task_id": "task_1", "status": "lost"}),
    ],
)
def test_mock_tools_refuse_what_is_not_there(name: str, arguments: dict[str, Any]) -> None:
    world = mock_world()
    with pytest.raises(CALL_FAILED):
        world.call(name, arguments)
    assert world.changed == ()


def test_initial_data_are_laid_over_records_and_make_new_ones() -> None:
    world = mock_world()
    data = {"tasks": {"task_2": {"task_id": "task_2", "title": "New"}}, "users": {"user_1": {"tasks": ["task_2"]}}}
    world.prepare(row(initialization_data={"agent_data": data}).initial_state)
    assert world.changed == ("tasks/task_2", "users/user_1")
    assert '"name": "A", "tasks": ["task_2"]' in world.call("get_users", {})


def test_the_phone_is_no_part_of_the_agents_database() -> None:
    world = mock_world()
    before = world.fingerprint()
    add = {"env_type": "user", "func_name": "add_notification"}
    arguments = {"notification_id": "n", "message": "m", "task_id": "task_1"}
    world.prepare(row(initialization_actions=[{**add, "arguments": arguments}]).initial_state)
    wanted = {"notification_id": "n", "expected_status": "read"}
    is_read = Assertion(env_type=Side.USER, func_name="assert_notification_status", arguments=wanted)
    assert not world.holds(is_read)
    world.user.call("dismiss_notification", {"notification_id": "n"})
    assert world.holds(is_read)
    assert world.fingerprint() == before


async def test_a_mock_task_without_calls_is_solved_by_what_its_assertions_ask_for(tau2_data: str) -> None:
    env = Tau2("mock", tau2_data)
    task = next(task for task in env.tasks("base") if task.id.endswith("update_task_with_history_and_env_assertions"))
    played = await play_oracle(env, task)
    assert (played.total, env.world.changed) == (1.0, ("tasks/task_2", "users/user_1"))


CREATE = {"id": "c", "name": "create_task", "arguments": {"user_id": "user_1", "title": "T"}}


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({"initialization_data": {"agent_data": {"cars": {}}}}, "no table 'cars'"),
        ({"initialization_data": {"agent_data": {"tasks": {"task_2": {"title": "T"}}}}}, "make no record"),
        (
            {
                "initialization_actions": [
                    {"env_type": "assistant", "func_name": "create_task", "arguments": {"user_id": "x", "title": "T"}}
                ]
            },
            "no user x",
        ),
        (
            {
                "message_history": [
                    {"role": "assistant", "tool_calls": [CREATE]},
                    {"role": "tool", "id": "c", "content": '{"task_id": "task_7"}'},
                ]
            },
            "but the task says",
        ),
    ],
)
def test_an_initial_state_that_cannot_be_is_refused(state: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        mock_world().prepare(row(**state).initial_state)


def test_a_row_that_names_unknown_functions_is_refused_by_name() -> None:
    world = mock_world()
    raw = row().model_dump()
    call = GoldCall(action_id="1", name="delete_task", arguments={})
    with pytest.raises(ConfigError, match="no function 'delete_task'"):
        world.check(Row.model_validate({**raw, "evaluation_criteria": {"actions": [call.model_dump()]}}))
    wanted = {"env_type": "assistant", "func_name": "assert_number_of_tasks", "arguments": {}}
    with pytest.raises(ConfigError, match="no assertion 'assert_number_of_tasks'"):
        world.check(Row.model_validate({**raw, "evaluation_criteria": {"env_assertions": [wanted]}}))
    wanted = {"env_type": "assistant", "func_name": "assert_task_status", "arguments": {"task_id": "task_1"}}
    with pytest.raises(ConfigError, match="expected_status"):
        world.check(Row.model_validate({**raw, "evaluation_criteria": {"env_assertions": [wanted]}}))
