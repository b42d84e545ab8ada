"""JSON schemas of phrases, as function tools have them: short, and without what pydantic adds for itself.

Bounds on sizes are left out: they are there for what no policy means to write, and cost every prompt.
"""

from __future__ import annotations

import functools
from typing import Any

from agentenv.messages import Wire
from agentenv_gui.codecs.phrases import Phrase, Words

_KEPT = ("type", "description", "enum", "items", "properties", "default")


@functools.cache
def schema_of(phrase: type[Phrase]) -> Wire:
    """The parameters of a tool that takes the fields of one phrase."""
    made = phrase.model_json_schema()
    return _object({name: _tidy(field) for name, field in made["properties"].items()}, made.get("required", []))


def schema_of_all(words: Words, tag: str) -> Wire:
    """The parameters of a tool that takes any of the phrases, told apart by the field `tag`.

    A field that several phrases have is described by all that is said of it.
    """
    meanings = [f"{name}{_fields(word.phrase)}: {word.about}" for name, word in words.items()]
    fields: Wire = {tag: {"type": "string", "enum": list(words), "description": "\n".join(meanings)}}
    about: dict[str, list[str]] = {}
    for phrase in dict.fromkeys(word.phrase for word in words.values()):
        for name, field in schema_of(phrase)["properties"].items():
            about.setdefault(name, []).append(field.get("description", ""))
            fields.setdefault(name, field)
    for name, descriptions in about.items():
        if joined := "; or ".join(filter(None, dict.fromkeys(descriptions))):
            fields[name] = fields[name] | {"description": joined}
    return _object(fields, [tag])


def _fields(phrase: type[Phrase]) -> str:
    """The names of a phrase's fields, such as "(x, y, keys?)"."""
    names = [name if field.is_required() else f"{name}?" for name, field in phrase.model_fields.items()]
    return f"({', '.join(names)})" if names else ""


def _object(properties: Wire, required: list[str]) -> Wire:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _tidy(field: Wire) -> Wire:
    """A field's schema; null is not mentioned, as it only means that nothing is said."""
    whole: dict[str, Any] = dict(field)
    for choice in field.get("anyOf", ()):
        if choice != {"type": "null"}:
            whole |= choice
    kept = {name: whole[name] for name in _KEPT if whole.get(name) is not None}
    if whole.get("minItems") == whole.get("maxItems") is not None:
        kept |= {"minItems": whole["minItems"], "maxItems": whole["maxItems"]}
    if "items" in kept:
        kept["items"] = _tidy(kept["items"])
    return kept
