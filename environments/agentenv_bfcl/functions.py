"""BFCL's function descriptions as tools: names that OpenAI accepts, and parameters in JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from agentenv.tools import ToolSpec

HINT = " Note that the provided function is in Python 3 syntax."
"""What BFCL puts behind every description before it shows it to a model."""

_LONGEST_NAME = 64
_FORBIDDEN = re.compile(r"[^a-zA-Z0-9_-]")
_TYPES = {"dict": "object", "float": "number", "tuple": "array"}

Schema = dict[str, Any]


def tool_name(name: str) -> str:
    """
    >>> tool_name("geometry.area_circle")
    'geometry_area_circle'
    """
    return _FORBIDDEN.sub("_", name)[:_LONGEST_NAME]


def json_schema(described: Mapping[str, Any]) -> Schema:
    """A parameter's description as a JSON schema: Python's types by JSON's names, `any` without a type.

    >>> json_schema({"type": "tuple", "items": {"type": "float"}})
    {'type': 'array', 'items': {'type': 'number'}}
    """
    schema = dict(described)
    kind = schema.get("type")
    if kind == "any":
        del schema["type"]
    elif kind is not None:
        schema["type"] = _TYPES.get(kind, kind)
    if isinstance(properties := schema.get("properties"), Mapping):
        schema["properties"] = {name: json_schema(inner) for name, inner in properties.items()}
    if isinstance(items := schema.get("items"), Mapping):
        schema["items"] = json_schema(items)
    return schema


def tool_spec(function: Mapping[str, Any]) -> ToolSpec:
    """What a policy is told about a function."""
    return ToolSpec(tool_name(function["name"]), function["description"] + HINT, json_schema(function["parameters"]))
