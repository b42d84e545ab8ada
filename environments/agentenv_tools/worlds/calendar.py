"""The world `calendar`: the events of one working week, and who takes part in them."""

from __future__ import annotations

import dataclasses
import datetime
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from agentenv.tools import ToolError, tool
from agentenv_tools.world import Facts, World, register_world
from agentenv_tools.worlds.places import PEOPLE, WEEK

OPENS, CLOSES = 9, 17
"""Hours between which events lie."""
STEP = 30
"""Minutes: events begin and end on the hour or half past."""
SUBJECTS = ("budget review", "design session", "hiring round", "launch plan", "status call", "training", "audit talk")
MAX_SUBJECT = 100


@dataclass(frozen=True, slots=True)
class Event:
    """Something that is planned. `people` are in alphabetical order."""

    title: str
    start: datetime.datetime
    minutes: int
    people: tuple[str, ...]

    @property
    def end(self) -> datetime.datetime:
        return self.start + datetime.timedelta(minutes=self.minutes)

    def collides(self, other: Event) -> bool:
        """Whether somebody would have to be at both."""
        apart = self.end <= other.start or other.end <= self.start
        return not apart and bool(set(self.people) & set(other.people))

    @property
    def name(self) -> str:
        """What it is, whatever its number."""
        return f"{self.title} at {self.start:%Y-%m-%d %H:%M} with {', '.join(self.people)}"


@dataclass(frozen=True, slots=True)
class Entry:
    """An event as it is shown, with its number."""

    event: int
    title: str
    start: str
    minutes: int
    people: tuple[str, ...]

    @classmethod
    def of(cls, number: int, event: Event) -> Entry:
        return cls(number, event.title, f"{event.start:%Y-%m-%dT%H:%M}", event.minutes, event.people)


@register_world
class CalendarWorld(World):
    """Events by number. Nobody is at two of them at a time."""

    name: ClassVar[str] = "calendar"

    def __init__(self, rng: random.Random) -> None:
        self.events: dict[int, Event] = {}
        self._next = 1
        while len(self.events) < 14:
            event = _drawn(rng)
            if self.collision(event) is None and all(
                event.title != other.title for other in self.on(event.start.date())
            ):
                self._enter(event)

    def on(self, day: datetime.date) -> list[Event]:
        """The events of a day, in their order."""
        return sorted((event for event in self.events.values() if event.start.date() == day), key=_order)

    def collision(self, event: Event, but: int | None = None) -> Event | None:
        """An event that somebody would have to be at as well. `but`: the number of one that does not count."""
        others = (other for number, other in self.events.items() if number != but)
        return next((other for other in others if other.collides(event)), None)

    def free(self, day: datetime.date, minutes: int, people: Iterable[str]) -> list[datetime.datetime]:
        """When on a day an event of so many minutes can begin for all of these people."""
        starts = range(OPENS * 60, CLOSES * 60 - minutes + 1, STEP)
        tried = [Event("", _at(day, start), minutes, tuple(people)) for start in starts]
        return [event.start for event in tried if self.collision(event) is None]

    def number_of(self, event: Event) -> int:
        """The number an event has."""
        return next(number for number, known in self.events.items() if known == event)

    @tool(inline=True)
    def list_events(self, day: datetime.date) -> list[Entry]:
        """Lists the events of a day, in their order.

        Args:
            day: For example "2031-03-04".
        """
        numbered = [(number, event) for number, event in self.events.items() if event.start.date() == day]
        return [Entry.of(number, event) for number, event in sorted(numbered, key=lambda pair: _order(pair[1]))]

    @tool(inline=True)
    def find_free_slots(self, day: datetime.date, minutes: int, people: list[str]) -> list[str]:
        """Finds when an event can begin, so that all of these people are free. Working days are from 9:00 to 17:00.

        Args:
            day: For example "2031-03-04".
            minutes: How long the event is: 30, 60, 90, ...
            people: First names.
        """
        self._check(_at(day, OPENS * 60), minutes, people)
        return [f"{start:%Y-%m-%dT%H:%M}" for start in self.free(day, minutes, people)]

    @tool(inline=True)
    def create_event(self, title: str, start: datetime.datetime, minutes: int, people: list[str]) -> Entry:
        """Enters an event. It is refused where somebody is at another one at that time.

        Args:
            title: What it is called.
            start: For example "2031-03-04T14:30". Events begin on the hour or half past.
            minutes: How long it is: 30, 60, 90, ...
            people: First names of those who take part.
        """
        if not 0 < len(title.strip()) <= MAX_SUBJECT:
            raise ToolError(f"Error: a title has between 1 and {MAX_SUBJECT} characters.")
        self._check(start, minutes, people)
        return self._entered(Event(title.strip(), start, minutes, tuple(sorted(set(people)))))

    @tool(inline=True)
    def move_event(self, event: int, start: datetime.datetime) -> Entry:
        """Moves an event to another time. It keeps everything else.

        Args:
            event: Its number.
            start: When it begins from now on, for example "2031-03-04T14:30".
        """
        known = self._known(event)
        self._check(start, known.minutes, known.people)
        return self._entered(dataclasses.replace(known, start=start), number=event)

    @tool(inline=True)
    def cancel_event(self, event: int) -> str:
        """Takes an event out of the calendar.

        Args:
            event: Its number.
        """
        known = self._known(event)
        del self.events[event]
        return f"{known.title} is cancelled."

    def facts(self) -> Facts:
        return {event.name: event.minutes for event in self.events.values()}

    def snapshot(self) -> tuple[dict[int, Event], int]:
        return dict(self.events), self._next

    def restore(self, snapshot: tuple[dict[int, Event], int]) -> None:
        events, self._next = snapshot
        self.events = dict(events)

    def _known(self, number: int) -> Event:
        if number not in self.events:
            raise ToolError(f"Error: there is no event {number}. list_events says which there are.")
        return self.events[number]

    def _entered(self, event: Event, number: int | None = None) -> Entry:
        other = self.collision(event, but=number)
        if other is not None:
            busy = ", ".join(sorted(set(event.people) & set(other.people)))
            raise ToolError(f"Error: {busy} is busy then: {other.title}, {other.start:%H:%M} to {other.end:%H:%M}.")
        if number is None:
            return Entry.of(self._enter(event), event)
        self.events[number] = event
        return Entry.of(number, event)

    def _enter(self, event: Event) -> int:
        number, self._next = self._next, self._next + 1
        self.events[number] = event
        return number

    def _check(self, start: datetime.datetime, minutes: int, people: Sequence[str]) -> None:
        """Refuses what no event can be."""
        if start.tzinfo is not None:
            raise ToolError("Error: times are without a time zone, for example 2031-03-04T14:30.")
        if start.date() not in WEEK:
            raise ToolError(f"Error: the calendar has the days from {WEEK[0]} to {WEEK[-1]}.")
        if minutes <= 0 or minutes % STEP or start.minute % STEP or start.second or start.microsecond:
            raise ToolError(f"Error: events begin and end on the hour or half past; {minutes} minutes do not fit.")
        if start.hour < OPENS or minutes > 60 * CLOSES - (60 * start.hour + start.minute):
            raise ToolError(f"Error: events lie between {OPENS}:00 and {CLOSES}:00.")
        unknown = sorted(set(people) - set(PEOPLE))
        if unknown or not people:
            raise ToolError(f"Error: the people are {', '.join(PEOPLE)}; not {', '.join(unknown)[:100] or 'nobody'}.")


def _drawn(rng: random.Random) -> Event:
    minutes = STEP * rng.randint(1, 4)
    start = rng.randrange(OPENS * 60, CLOSES * 60 - minutes + 1, STEP)
    people = tuple(sorted(rng.sample(PEOPLE, rng.randint(1, 3))))
    return Event(rng.choice(SUBJECTS), _at(rng.choice(WEEK), start), minutes, people)


def _at(day: datetime.date, minutes: int) -> datetime.datetime:
    """A time on a day, in minutes from midnight."""
    return datetime.datetime.combine(day, datetime.time(minutes // 60, minutes % 60))


def _order(event: Event) -> tuple[datetime.datetime, str]:
    return event.start, event.name
