"""Worlds by name, side by side; and what two states of one have in common."""

from __future__ import annotations

import random
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentenv.errors import AgentenvError, ConfigError, UnsupportedError
from agentenv.tools import tool
from agentenv_tools.env import Verdict
from agentenv_tools.world import Facts, World, Worlds, digest, register_world, world_kind, world_names
from agentenv_tools.worlds import BookingsWorld, CalendarWorld, FilesWorld, SqlWorld
from tests.tools.worlds import called, made

STATEFUL: tuple[type[World], ...] = (BookingsWorld, CalendarWorld, FilesWorld, SqlWorld)


def test_the_worlds_there_are_have_names() -> None:
    assert set(world_names()) >= {"bookings", "calculator", "calendar", "files", "python", "search", "sql"}
    assert world_kind("calendar") is CalendarWorld
    with pytest.raises(ConfigError, match=r"no world 'calender'\. Did you mean 'calendar'"):
        world_kind("calender")


def test_two_classes_cannot_have_one_name() -> None:
    class Other(World):
        name: ClassVar[str] = "calendar"

    with pytest.raises(ConfigError, match="there is a world 'calendar' already"):
        register_world(Other)
    assert register_world(CalendarWorld) is CalendarWorld


def test_options_a_world_does_not_take_are_a_mistake() -> None:
    worlds = Worlds(("files",), 0, {"files": {"colour": "red"}})
    with pytest.raises(ConfigError, match=r"the world 'files' cannot be made with .*colour"):
        worlds.of(FilesWorld)


def test_a_world_that_is_not_there_is_not_given() -> None:
    with pytest.raises(AgentenvError, match="no world 'sql' here; there are files"):
        Worlds(("files",), 0, {}).of(SqlWorld)


def test_only_the_worlds_that_are_asked_for_are_made() -> None:
    made_: list[str] = []

    class Lazy(World):
        name: ClassVar[str] = "test-lazy"

        def __init__(self, rng: random.Random) -> None:
            made_.append(self.name)

    register_world(Lazy)
    worlds = Worlds(("files", "test-lazy"), 0, {})
    worlds.of(FilesWorld)
    assert made_ == []
    worlds.facts()
    worlds.facts()
    assert made_ == ["test-lazy"]


def test_a_world_is_drawn_alike_whoever_stands_beside_it() -> None:
    alone = Worlds(("files",), 3, {}).of(FilesWorld)
    among = Worlds(("sql", "files"), 3, {}).of(FilesWorld)
    other = Worlds(("files",), 4, {}).of(FilesWorld)
    assert alone.facts() == among.facts() != other.facts()


def test_two_tools_of_one_name_are_a_mistake() -> None:
    class Doppelganger(World):
        name: ClassVar[str] = "test-doppelganger"

        @tool(inline=True)
        def read_file(self) -> str:
            """Reads nothing."""
            return ""

    register_world(Doppelganger)
    with pytest.raises(AgentenvError, match="two tools are named 'read_file'"):
        _ = Worlds(("files", "test-doppelganger"), 0, {}).tools


def test_a_world_without_snapshots_says_so() -> None:
    class Plain(World):
        name: ClassVar[str] = "test-plain"

    with pytest.raises(UnsupportedError, match="'test-plain' cannot be snapshotted"):
        made(Plain).snapshot()


@pytest.mark.parametrize("kind", STATEFUL)
@given(seed=st.integers(0, 2**31))
def test_the_same_seed_is_the_same_world(kind: type[World], seed: int) -> None:
    first, again = made(kind, seed), made(kind, seed)
    assert first.facts() == again.facts()
    assert digest(first.facts()) == digest(again.facts())


CHANGES: dict[type[World], tuple[str, dict[str, object]]] = {
    BookingsWorld: ("cancel_booking", {"booking": 1}),
    CalendarWorld: ("cancel_event", {"event": 1}),
    FilesWorld: ("write_file", {"path": "/new.txt", "text": "x"}),
    SqlWorld: ("run_sql", {"statement": "DELETE FROM orders WHERE id = (SELECT min(id) FROM orders)"}),
}


@pytest.mark.parametrize("kind", STATEFUL)
async def test_a_snapshot_brings_a_state_back_and_is_touched_by_nobody(kind: type[World]) -> None:
    world, other = made(kind, 1), made(kind, 2)
    name, arguments = CHANGES[kind]
    start, before = world.snapshot(), dict(world.facts())
    await called(world, name, **arguments)
    changed, after = world.snapshot(), dict(world.facts())
    assert after != before
    world.restore(start)
    assert world.facts() == before
    other.restore(changed)
    assert other.facts() == after
    await called(world, name, **arguments)
    assert world.facts() == after
    world.restore(start)
    assert world.facts() == before


BEFORE: Facts = {"a": 1, "b": 2, "c": 3}


@pytest.mark.parametrize(
    ("wanted", "found", "missing", "unwanted"),
    [
        ({**BEFORE, "a": 9}, {**BEFORE, "a": 9}, 0, 0),
        ({**BEFORE, "a": 9}, BEFORE, 1, 0),
        ({**BEFORE, "a": 9}, {**BEFORE, "a": 8}, 1, 0),
        ({**BEFORE, "a": 9}, {**BEFORE, "a": 9, "b": 0}, 0, 1),
        ({**BEFORE, "a": 9}, {"a": 9, "b": 2}, 0, 1),
        ({"b": 2, "c": 3}, BEFORE, 1, 0),
        ({**BEFORE, "d": 4}, {**BEFORE, "e": 4}, 1, 1),
        (BEFORE, {}, 0, 3),
        ({**BEFORE, "a": True}, BEFORE, 1, 0),
    ],
)
def test_a_verdict_counts_what_is_missing_and_what_nobody_wanted(
    wanted: Facts, found: Facts, missing: int, unwanted: int
) -> None:
    assert Verdict.of(BEFORE, wanted, found, answered=True) == Verdict(missing, unwanted, True)


facts = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2))


@given(facts, facts, facts, st.booleans())
def test_only_the_wanted_state_with_the_right_answer_is_right(
    before: Facts, wanted: Facts, found: Facts, answered: bool
) -> None:
    assert Verdict.of(before, wanted, found, answered=answered).right == (found == wanted and answered)
