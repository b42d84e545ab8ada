"""A catalogue: numbered pages with one fact each, and the search that finds them."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from enum import StrEnum

# fmt: off
ITEMS = (
    "lamp", "mug", "pen", "hat", "cup", "bag", "jar", "fan", "bowl", "desk", "vase",
    "sofa", "bed", "bell", "belt", "boot", "can", "cap", "coat", "fork", "key", "kite",
    "pan", "pot", "ring", "rug", "sack", "sled", "sock", "tent", "toy", "urn",
)
# fmt: on


class Fact(StrEnum):
    """What a page says of its article; an article's pages are in this order."""

    PRICE = "price"
    WEIGHT = "weight"

    @property
    def letter(self) -> str:
        """What the ids of its pages begin with."""
        return self.name[0]


SHOWN = 3
"""Articles in a catalogue."""
HITS = 2
"""Pages that a search lists at most: as many as an article has."""

NUMBERS = range(10, 100)
VALUES = range(20, 100)


@dataclass(frozen=True, slots=True)
class Page:
    """One fact about one article: its price or its weight, as a whole number of whatever unit.

    >>> page = Page(17, "lamp", Fact.PRICE, 34)
    >>> page.id, page.listing, page.text
    ('P17', 'P17 lamp', '{"price": "34"}')
    """

    number: int
    item: str
    fact: Fact
    value: int

    @property
    def id(self) -> str:
        """What it is read and cited by."""
        return f"{self.fact.letter}{self.number}"

    @property
    def words(self) -> frozenset[str]:
        """What it is found by."""
        return frozenset((self.item, self.fact.value))

    @property
    def listing(self) -> str:
        """What a search shows of it."""
        return f"{self.id} {self.item}"

    @property
    def text(self) -> str:
        """What a reader sees."""
        return json.dumps({self.fact.value: str(self.value)})


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Pages in the order of their numbers."""

    pages: tuple[Page, ...]

    @classmethod
    def draw(cls, rng: random.Random, item: str) -> Catalogue:
        """A catalogue with this article and others; no two pages have the same value."""
        items = [item, *rng.sample([other for other in ITEMS if other != item], SHOWN - 1)]
        rng.shuffle(items)
        titles = [(each, fact) for each in items for fact in Fact]
        numbers = sorted(rng.sample(NUMBERS, len(titles)))
        values = rng.sample(VALUES, len(titles))
        drawn = zip(numbers, titles, values, strict=True)
        return cls(tuple(Page(number, each, fact, value) for number, (each, fact), value in drawn))

    def search(self, query: str) -> tuple[Page, ...]:
        """The pages that share most words with the query, at most `HITS`, in the order of the catalogue.

        >>> pages = Page(17, "lamp", Fact.PRICE, 34), Page(42, "lamp", Fact.WEIGHT, 60), Page(80, "hat", Fact.PRICE, 29)
        >>> [page.id for page in Catalogue(pages).search("the weight of a lamp")]
        ['P17', 'W42']
        """
        asked = frozenset(query.lower().split())
        shared = {page.number: len(asked & page.words) for page in self.pages}
        best = sorted(self.pages, key=lambda page: (-shared[page.number], page.number))[:HITS]
        return tuple(sorted((page for page in best if shared[page.number]), key=lambda page: page.number))

    def page(self, id: str) -> Page | None:
        """The page of this id, if there is one."""
        return next((page for page in self.pages if page.id == id), None)

    def page_of(self, item: str, fact: Fact) -> Page:
        """The page with this fact about this article, which must be in the catalogue."""
        return next(page for page in self.pages if (page.item, page.fact) == (item, fact))
