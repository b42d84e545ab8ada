"""Phrases: what a dialect says of one action, as pydantic models that check it and describe it to a policy.

Strict as to types and names and bounded in size: whatever a policy writes is a phrase, or one clear error.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import pydantic
from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from agentenv.errors import nearest
from agentenv.messages import Wire
from agentenv_gui.codecs.contract import DialectError

FARTHEST = 100_000
"""Units that a place can be away from the upper left corner, and that one scroll can cover."""
LONGEST_TEXT = 20_000
"""Characters of a text to type."""
LONGEST_PATH = 1_000
"""Places of a drag."""
LONGEST_KEYS = 500
"""Characters of the keys of one action."""
LONGEST_WAIT = 300
"""Seconds, as Anthropic has it."""
MOST_ACTIONS = 100
"""Actions in one batch, and times that a key can be repeated."""

_SHOWN_ERRORS = 3
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 60


def _whole(value: object) -> object:
    """A whole number that came with a decimal point."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Units = Annotated[
    float,
    Field(ge=-FARTHEST, le=FARTHEST, allow_inf_nan=False),
    PlainSerializer(round, return_type=int),
    WithJsonSchema({"type": "integer"}),
]
"""A coordinate or a distance in units of the space: said as a whole number, understood as any."""
Whole = Annotated[int, BeforeValidator(_whole, json_schema_input_type=int)]
ElementId = Annotated[Whole, Field(ge=-1_000_000_000, le=1_000_000_000)]
Seconds = Annotated[float, Field(ge=0, le=LONGEST_WAIT, allow_inf_nan=False), PlainSerializer(_whole)]
Text = Annotated[str, Field(max_length=LONGEST_TEXT)]
KeyText = Annotated[str, Field(min_length=1, max_length=LONGEST_KEYS)]
Pair = Annotated[list[Units], Field(min_length=2, max_length=2)]


class Phrase(pydantic.BaseModel):
    """The fields of what is said of an action. `None` is what is not said."""

    model_config = pydantic.ConfigDict(strict=True, extra="forbid", frozen=True)


class Placed(Phrase):
    """A phrase that has places in it, whose units a policy must be told."""


class Word(NamedTuple):
    """A word for an action: the fields that go with it, and what it means, for the policy."""

    phrase: type[Phrase]
    about: str


Words = Mapping[str, Word]
"""The words of a dialect, by name."""


class Said(NamedTuple):
    """A word and what is said with it."""

    word: str
    phrase: Phrase


Saying = tuple[str, Wire]
"""A word and the fields that go with it, not yet checked."""


def understood(words: Words, word: object, fields: Mapping[str, Any]) -> Said:
    """Checks what was said.

    Raises:
        DialectError: there is no such word, or the fields are not those that go with it.
    """
    if not isinstance(word, str) or word not in words:
        hint = nearest(word, words) if isinstance(word, str) and len(word) < 100 else ""
        raise DialectError(f"there is no action {shortened(word)}." + (hint or f" There are {', '.join(words)}."))
    try:
        return Said(word, words[word].phrase.model_validate(fields))
    except pydantic.ValidationError as problem:
        raise DialectError(f"{word}: {explained(problem, words[word].phrase)}") from None


def explained(problem: pydantic.ValidationError, phrase: type[Phrase]) -> str:
    """What is wrong with the fields of a phrase: the first few things."""
    details = problem.errors(include_url=False, include_context=False, include_input=False)
    reasons = []
    for detail in details[:_SHOWN_ERRORS]:
        where = ".".join(str(step) for step in detail["loc"])
        if detail["type"] == "missing":
            reasons.append(f"{where} is missing")
        elif detail["type"] == "extra_forbidden":
            hint = nearest(where, phrase.model_fields) if len(where) < 100 else ""
            reasons.append(f"there is no field {shortened(where)}" + (f" ({hint.strip()})" if hint else ""))
        else:
            reasons.append(f"{shortened(where)}: {detail['msg']}" if where else detail["msg"])
    return "; ".join(reasons)


def shortened(value: object) -> str:
    """What a policy wrote, at a length that can be shown."""
    text = _REPR.repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def wire(phrase: Phrase) -> Wire:
    """A phrase as it travels: without what is not said."""
    return phrase.model_dump(exclude_none=True)
