"""The world of the calendar: nobody is at two events at a time."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentenv_tools.worlds import CalendarWorld
from agentenv_tools.worlds.calendar import Event
from agentenv_tools.worlds.places import PEOPLE, WEEK
from tests.tools.worlds import called, made, outcome_of, refusal

MONDAY = "2031-03-03"
TALK = {"title": "Talk", "start": f"{MONDAY}T10:00", "minutes": 60, "people": ["Bruno", "Ada"]}


def empty() -> CalendarWorld:
    world = made(CalendarWorld)
    world.events = {}
    return world


async def test_events_are_entered_listed_moved_and_cancelled() -> None:
    world = empty()
    talk = await called(world, "create_event", **TALK)
    assert (talk["start"], talk["people"]) == (f"{MONDAY}T10:00", ["Ada", "Bruno"])
    assert world.facts() == {"Talk at 2031-03-03 10:00 with Ada, Bruno": 60}
    assert await called(world, "list_events", day=MONDAY) == [talk]
    await called(world, "move_event", event=talk["event"], start="2031-03-04T09:30")
    assert world.facts() == {"Talk at 2031-03-04 09:30 with Ada, Bruno": 60}
    await called(world, "cancel_event", event=talk["event"])
    assert world.facts() == {}


async def test_who_is_busy_cannot_be_at_another_event() -> None:
    world = empty()
    await called(world, "create_event", **TALK)
    for start in ("09:30", "10:00", "10:30"):
        said = await refusal(world, "create_event", **{**TALK, "title": "Other", "start": f"{MONDAY}T{start}"})
        assert said == "Error: Ada, Bruno is busy then: Talk, 10:00 to 11:00."
    await called(world, "create_event", **{**TALK, "title": "Before", "start": f"{MONDAY}T09:00"})
    await called(world, "create_event", **{**TALK, "title": "After", "start": f"{MONDAY}T11:00"})
    await called(world, "create_event", **{**TALK, "title": "Beside", "people": ["Chiara"]})


async def test_an_event_does_not_stand_in_its_own_way() -> None:
    world = empty()
    talk = await called(world, "create_event", **TALK)
    moved = await called(world, "move_event", event=talk["event"], start=f"{MONDAY}T10:30")
    assert moved["start"] == f"{MONDAY}T10:30"


async def test_a_free_slot_is_free_for_everybody() -> None:
    world = empty()
    await called(world, "create_event", **{**TALK, "start": f"{MONDAY}T09:00", "minutes": 210})
    await called(world, "create_event", **{**TALK, "people": ["Chiara"], "start": f"{MONDAY}T13:30", "minutes": 180})
    slots = {"day": MONDAY, "minutes": 60, "people": ["Ada", "Chiara"]}
    assert await called(world, "find_free_slots", **slots) == [f"{MONDAY}T12:30"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"start": "2031-03-08T10:00"}, "has the days from 2031-03-03 to 2031-03-07"),
        ({"start": f"{MONDAY}T10:15"}, "on the hour or half past"),
        ({"start": f"{MONDAY}T10:00:30"}, "on the hour or half past"),
        ({"minutes": 45}, "on the hour or half past"),
        ({"minutes": 0}, "on the hour or half past"),
        ({"minutes": -30}, "on the hour or half past"),
        ({"minutes": 10**9 // 30 * 30}, "between 9:00 and 17:00"),
        ({"start": f"{MONDAY}T08:30"}, "between 9:00 and 17:00"),
        ({"start": f"{MONDAY}T16:30"}, "between 9:00 and 17:00"),
        ({"start": f"{MONDAY}T10:00:00Z"}, "without a time zone"),
        ({"people": []}, "not nobody"),
        ({"people": ["Nobody"]}, "not Nobody"),
        ({"title": "  "}, "between 1 and 100 characters"),
        ({"title": "x" * 101}, "between 1 and 100 characters"),
        ({"start": "soon"}, "invalid arguments: start"),
    ],
)
async def test_what_no_event_can_be_is_refused(changes: dict[str, object], says: str) -> None:
    assert says in await refusal(empty(), "create_event", **{**TALK, **changes})


async def test_numbers_of_events_are_not_used_twice_and_do_not_count() -> None:
    world = empty()
    first = await called(world, "create_event", **TALK)
    before = dict(world.facts())
    await called(world, "cancel_event", event=first["event"])
    assert "there is no event" in await refusal(world, "cancel_event", event=first["event"])
    second = await called(world, "create_event", **TALK)
    assert second["event"] != first["event"]
    assert world.facts() == before


@settings(max_examples=40)
@given(
    st.integers(0, 10**6), st.lists(st.tuples(st.integers(0, 39), st.integers(1, 4), st.sets(st.sampled_from(PEOPLE))))
)
async def test_whatever_is_entered_nobody_is_at_two_events(seed: int, wishes: list[tuple[int, int, set[str]]]) -> None:
    world = made(CalendarWorld, seed)
    for slot, length, people in wishes:
        start = datetime.datetime.combine(WEEK[slot % 5], datetime.time(9 + slot // 5, 0))
        arguments = {"title": "x", "start": start.isoformat(), "minutes": 30 * length, "people": sorted(people)}
        await outcome_of(world, "create_event", **arguments)
    events: list[Event] = list(world.events.values())
    assert not any(one.collides(other) for one in events for other in events if one is not other)
    assert len(world.facts()) == len(events)
