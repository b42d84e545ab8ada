"""Observations as text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy

from agentenv.errors import ConfigError

LARGEST = 1000
"""An observation of more numbers than this is a picture, not a text."""

_HIGHLIGHT = re.compile(r"\x1b\[[0-9;]*m(.)\x1b\[0m", re.DOTALL)
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def plain(rendering: str) -> str:
    r"""A terminal rendering without escape sequences; what they coloured stands in brackets.

    >>> plain("\x1b[41mS\x1b[0mFFF")
    '[S]FFF'
    """
    return _ESCAPE.sub("", _HIGHLIGHT.sub(r"[\1]", rendering)).strip("\n")


def jsonable(observation: Any) -> Any:
    """An observation as a JSON value.

    Raises:
        ConfigError: it is a picture.
    """
    if isinstance(observation, numpy.ndarray):
        if observation.size > LARGEST:
            raise ConfigError(f"an observation of shape {observation.shape} is too large to be shown as text")
        return observation.tolist()
    if isinstance(observation, numpy.generic):
        return observation.item()
    if isinstance(observation, Mapping):
        return {str(key): jsonable(value) for key, value in observation.items()}
    if isinstance(observation, tuple | list):
        return [jsonable(value) for value in observation]
    return observation if isinstance(observation, int | float | str | bool | None) else str(observation)


def taxi(observation: Any) -> str:
    """Taxi's state in words: its picture tells places apart by colour alone."""
    places = ("Red (row 0, column 0)", "Green (row 0, column 4)", "Yellow (row 4, column 0)", "Blue (row 4, column 3)")
    rest, destination = divmod(int(observation), 4)
    rest, passenger = divmod(rest, 5)
    row, column = divmod(rest, 5)
    waiting = "in the taxi" if passenger == len(places) else f"at {places[passenger]}"
    return (
        f"The taxi is at row {row}, column {column}. The passenger is {waiting}. "
        f"The destination is {places[destination]}."
    )


def blackjack(observation: Any) -> str:
    hand, dealer, usable_ace = (int(part) for part in observation)
    ace = " with an ace counted as 11" if usable_ace else ""
    return f"Your hand is worth {hand}{ace}. The dealer shows {'an ace' if dealer == 1 else dealer}."


DESCRIBERS: Mapping[str, Callable[[Any], str]] = {"Taxi": taxi, "Blackjack": blackjack}
"""By the name of a Gymnasium id, for those whose observation says little by itself."""


def as_text(name: str, observation: Any, rendering: str | None) -> str:
    """The text for an observation of the environment `name`, with its `ansi` rendering where it has one."""
    parts = [plain(rendering)] if rendering else []
    if name in DESCRIBERS:
        parts.append(DESCRIBERS[name](observation))
    elif not parts:
        parts.append(f"Observation: {json.dumps(jsonable(observation))}")
    return "\n".join(parts)
