"""What the worlds have in common: people, cities, and one working week."""

from __future__ import annotations

import datetime

PEOPLE = ("Ada", "Bruno", "Chiara", "Dmitri", "Elif", "Farid", "Greta", "Hugo")
"""Colleagues, by first name."""

CITIES = ("Arlem", "Brisk", "Corvo", "Dunmore", "Estrel", "Fallow", "Garrick", "Helden")

MONDAY = datetime.date(2031, 3, 3)
WEEK = tuple(MONDAY + datetime.timedelta(days=day) for day in range(5))
"""The five days on which everything happens."""

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")


def spoken(day: datetime.date) -> str:
    """A day as one says it.

    >>> spoken(MONDAY)
    'Monday, 3 March 2031'
    """
    return f"{WEEKDAYS[(day - MONDAY).days % 7]}, {day.day} March {day.year}"
