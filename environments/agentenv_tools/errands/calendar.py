"""`tools/calendar-v0`: a week of events, to be planned."""

from __future__ import annotations

import dataclasses
import datetime
import random
from typing import ClassVar

from agentenv_tools.briefs import Brief, Call
from agentenv_tools.env import GoalEnv
from agentenv_tools.world import Worlds
from agentenv_tools.worlds import CalendarWorld
from agentenv_tools.worlds.calendar import STEP, Event
from agentenv_tools.worlds.places import CITIES, PEOPLE, WEEK, spoken

OCCASIONS = ("tour", "workshop", "interview", "lunch", "demo", "lesson", "handover")


class CalendarErrands(GoalEnv):
    """Events to enter, to move and to cancel. Paid is the calendar as it is left; numbers of events do not count."""

    worlds: ClassVar[tuple[str, ...]] = (CalendarWorld.name,)

    def draw(self, rng: random.Random, worlds: Worlds) -> Brief | None:
        draw = rng.choice((_cancelling, _moving, _meeting, _two_events, _clearing))
        return draw(rng, worlds.of(CalendarWorld))


def _cancelling(rng: random.Random, calendar: CalendarWorld) -> Brief:
    event = rng.choice(list(calendar.events.values()))
    day = event.start.date()
    return Brief(
        "cancelling",
        f"Cancel the {event.title} that begins at {event.start:%H:%M} on {spoken(day)}"
        f"{' and in which ' + _listed(event.people) + ' take part' if len(event.people) > 1 else ''}.",
        (_look(day), (Call("cancel_event", {"event": calendar.number_of(event)}),)),
    )


def _moving(rng: random.Random, calendar: CalendarWorld) -> Brief | None:
    event, day = rng.choice(list(calendar.events.values())), rng.choice(WEEK)
    starts = calendar.free(day, event.minutes, event.people)
    if day == event.start.date() or not starts:
        return None
    slots = {"day": day.isoformat(), "minutes": event.minutes, "people": list(event.people)}
    moved = {"event": calendar.number_of(event), "start": _iso(starts[0])}
    return Brief(
        "moving",
        f"Move the {event.title} of {spoken(event.start.date())} to {spoken(day)}, as early as everybody who takes "
        "part in it is free.",
        (_look(event.start.date()), (Call("find_free_slots", slots),), (Call("move_event", moved),)),
    )


def _meeting(rng: random.Random, calendar: CalendarWorld) -> Brief | None:
    event = _invented(rng, calendar)
    starts = calendar.free(event.start.date(), event.minutes, event.people)
    if not starts:
        return None
    event = dataclasses.replace(event, start=starts[0])
    day = event.start.date()
    slots = {"day": day.isoformat(), "minutes": event.minutes, "people": list(event.people)}
    return Brief(
        "meeting",
        f'Enter an event "{event.title}" of {event.minutes} minutes with {_listed(event.people)} on {spoken(day)}, as '
        "early as all of them are free.",
        ((Call("find_free_slots", slots),), (_entering(event),)),
    )


def _two_events(rng: random.Random, calendar: CalendarWorld) -> Brief | None:
    events = [_invented(rng, calendar) for _ in range(2)]
    if events[0].collides(events[1]) or any(calendar.collision(event) for event in events):
        return None
    wishes = " and ".join(
        f'"{event.title}" of {event.minutes} minutes with {_listed(event.people)} at {event.start:%H:%M} on '
        f"{spoken(event.start.date())}"
        for event in events
    )
    return Brief("two events", f"Enter two events: {wishes}.", (tuple(map(_entering, events)),))


def _clearing(rng: random.Random, calendar: CalendarWorld) -> Brief | None:
    person, days = rng.choice(PEOPLE), sorted(rng.sample(WEEK, 2))
    events = [event for day in days for event in calendar.on(day) if person in event.people]
    if len(events) < 2:
        return None
    new = _invented(rng, calendar)
    new = dataclasses.replace(new, people=(person,), start=datetime.datetime.combine(days[0], new.start.time()))
    cancelled = [Call("cancel_event", {"event": calendar.number_of(event)}) for event in events]
    return Brief(
        "clearing",
        f"{person} is ill on {spoken(days[0])} and {spoken(days[1])}: cancel all events of these two days in which "
        f'{person} takes part. Then enter "{new.title}" of {new.minutes} minutes with {person} alone at '
        f"{new.start:%H:%M} on {spoken(days[0])}.",
        (_look(*days), tuple(cancelled), (_entering(new),)),
    )


def _invented(rng: random.Random, calendar: CalendarWorld) -> Event:
    """An event that is not there yet; somebody may be busy then."""
    minutes, people = STEP * rng.randint(1, 3), tuple(sorted(rng.sample(PEOPLE, rng.randint(1, 3))))
    start = datetime.datetime.combine(rng.choice(WEEK), datetime.time(rng.randint(9, 14), rng.choice((0, 30))))
    return Event(f"{rng.choice(CITIES)} {rng.choice(OCCASIONS)}", start, minutes, people)


def _look(*days: datetime.date) -> tuple[Call, ...]:
    return tuple(Call("list_events", {"day": day.isoformat()}) for day in days)


def _entering(event: Event) -> Call:
    arguments = {
        "title": event.title,
        "start": _iso(event.start),
        "minutes": event.minutes,
        "people": list(event.people),
    }
    return Call("create_event", arguments)


def _iso(moment: datetime.datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M}"


def _listed(people: tuple[str, ...]) -> str:
    return people[0] if len(people) == 1 else f"{', '.join(people[:-1])} and {people[-1]}"
