"""The documents of the world `search`: an invented country, and what is written about it."""

from __future__ import annotations

import datetime
import functools
import random
from dataclasses import dataclass

from agentenv_tools.worlds.drawn_shop import FIRST_NAMES, LAST_NAMES
from agentenv_tools.worlds.places import CITIES, PEOPLE, WEEK, spoken

_STARTS = ("Al", "Bel", "Cor", "Dun", "Er", "Fal", "Gor", "Hel", "Is", "Kar", "Lin", "Mor", "Nor", "Or", "Pel", "Sil")
_MIDDLES = ("ba", "de", "ga", "li", "mo", "na", "ra", "to", "ve", "za")
_ENDS = ("burg", "den", "ford", "holm", "mund", "stad", "ton", "wick")
_TRADES = ("Bridges", "Ironworks", "Engineers", "Builders", "Stone and Steel")
_RIVERS = ("Aven", "Brook", "Calder", "Derwen", "Eskil", "Frome")
_FAMOUS = ("apples", "clocks", "glass", "paper", "salt", "violins", "wool")
_TOPICS = ("archive", "bakery", "garden", "harbour", "library", "museum", "orchard", "planetarium", "stadium", "tram")


@dataclass(frozen=True, slots=True)
class Document:
    """A text with an id, by which it is cited."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Town:
    """A town; `document` is the id of what is written about it, as in all of these."""

    document: str
    name: str
    founded: int
    people: int
    famous_for: str


@dataclass(frozen=True, slots=True)
class Company:
    """A company that builds bridges."""

    document: str
    name: str
    founder: str
    seat: Town
    founded: int


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge; its length is in metres."""

    document: str
    name: str
    river: str
    builder: Company
    opened: int
    metres: int


@dataclass(frozen=True, slots=True)
class Project:
    """What an office works on. `review` is when its results are looked at, in `city`, by `lead`."""

    document: str
    name: str
    lead: str
    city: str
    review: datetime.date
    budget: int


@dataclass(frozen=True, slots=True)
class Library:
    """All documents, and what they are about."""

    documents: tuple[Document, ...]
    towns: tuple[Town, ...]
    companies: tuple[Company, ...]
    bridges: tuple[Bridge, ...]
    projects: tuple[Project, ...]


@functools.lru_cache(maxsize=1)
def own_library() -> Library:
    """The library this world comes with: 190 documents, always the same."""
    return _Author(random.Random("library")).write()


class _Author:
    """Invents things, and writes about each of them."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._documents: list[Document] = []
        self._names: set[str] = set()
        numbers = rng.sample(range(1_000, 10_000), 400)
        self._ids = (f"doc-{number}" for number in numbers)

    def write(self) -> Library:
        rng = self._rng
        towns = tuple(self._town() for _ in range(40))
        companies = tuple(self._company(rng.choice(towns)) for _ in range(40))
        bridges = tuple(self._bridge(rng.choice(companies)) for _ in range(70))
        projects = tuple(self._project(topic, city) for topic, city in self._project_names())
        rng.shuffle(self._documents)
        return Library(tuple(self._documents), towns, companies, bridges, projects)

    def _new_name(self) -> str:
        rng = self._rng
        while (name := rng.choice(_STARTS) + rng.choice(_MIDDLES) + rng.choice(_ENDS)) in self._names:
            pass
        self._names.add(name)
        return name

    def _add(self, title: str, *sentences: str) -> str:
        """Writes a document; the first sentence stays first. Returns its id."""
        first, *others = sentences
        self._rng.shuffle(others)
        document = Document(next(self._ids), title, " ".join((first, *others)))
        self._documents.append(document)
        return document.id

    def _town(self) -> Town:
        rng, name = self._rng, self._new_name()
        founded, people = rng.randint(900, 1700), rng.randint(2_000, 90_000)
        famous, river = rng.choice(_FAMOUS), rng.choice(_RIVERS)
        id = self._add(
            f"The town of {name}",
            f"{name} is a town on the river {river}.",
            f"It was founded in the year {founded}.",
            f"At the last count {people:,} people lived in {name}.",
            f"The town is known for its {famous}.",
            f"A market is held there every {rng.choice(('spring', 'summer', 'autumn', 'winter'))}.",
        )
        return Town(id, name, founded, people, famous)

    def _company(self, seat: Town) -> Company:
        rng = self._rng
        name = f"{self._new_name()} {rng.choice(_TRADES)}"
        founder = f"{rng.choice(FIRST_NAMES)} {rng.choice(LAST_NAMES)}"
        founded = rng.randint(1800, 1900)
        id = self._add(
            name,
            f"{name} is a company that builds bridges.",
            f"{founder} founded it in {founded}.",
            f"Its seat is in {seat.name}.",
            f"It employs about {rng.randint(2, 90) * 10} people.",
            f"Most of its work is done in {rng.choice(('stone', 'iron', 'steel', 'concrete'))}.",
        )
        return Company(id, name, founder, seat, founded)

    def _bridge(self, builder: Company) -> Bridge:
        rng = self._rng
        river, name = rng.choice(_RIVERS), f"{self._new_name()} Bridge"
        opened, metres = rng.randint(max(builder.founded + 1, 1850), 1999), rng.randint(40, 900)
        id = self._add(
            name,
            f"The {name} crosses the river {river}.",
            f"It was built by {builder.name}.",
            f"Traffic has crossed it since it was opened in {opened}.",
            f"From one bank to the other it measures {metres} metres.",
            f"It was repaired in {rng.randint(2000, 2029)}.",
        )
        return Bridge(id, name, river, builder, opened, metres)

    def _project_names(self) -> list[tuple[str, str]]:
        pairs = [(topic, city) for topic in _TOPICS for city in CITIES]
        return self._rng.sample(pairs, 40)

    def _project(self, topic: str, city: str) -> Project:
        rng, name = self._rng, f"{city} {topic}"
        lead, review = rng.choice(PEOPLE), rng.choice(WEEK)
        budget = rng.randint(20, 400) * 50
        id = self._add(
            f"Project {name}",
            f"The project {name} is about a new {topic} for {city}.",
            f"It is led by {lead}.",
            f"Its review takes place on {spoken(review)} ({review.isoformat()}).",
            f"The budget is {budget:,}.",
            f"Work on it began in {rng.randint(2027, 2030)}.",
        )
        return Project(id, name, lead, city, review, budget)
