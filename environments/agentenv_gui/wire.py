"""Actions and what is seen as JSON, for recordings and for whoever talks about a surface over a wire."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, TypeVar, get_args

import pydantic

from agentenv.errors import ConfigError
from agentenv_gui.actions import Action
from agentenv_gui.seen import Seen

KIND = "kind"
"""The key that says which action it is."""


def action_name(action: Action | type[Action]) -> str:
    """
    >>> from agentenv_gui.actions import TypeText
    >>> action_name(TypeText("hello"))
    'type_text'
    """
    name = action.__name__ if isinstance(action, type) else type(action).__name__
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


_ACTIONS: Mapping[str, pydantic.TypeAdapter[Action]] = {
    action_name(kind): pydantic.TypeAdapter(kind) for kind in get_args(Action)
}
_SEEN = pydantic.TypeAdapter(Seen)


def action_to_json(action: Action) -> dict[str, Any]:
    """An action without what is left as it usually is.

    >>> from agentenv_gui.actions import Click, Point
    >>> action_to_json(Click(Point(3, 4), count=2))
    {'kind': 'click', 'at': {'x': 3.0, 'y': 4.0}, 'count': 2}
    """
    name = action_name(action)
    values = _ACTIONS[name].dump_python(action, mode="json")
    usual = {field.name: field.default for field in dataclasses.fields(action)}
    return {KIND: name} | {
        key: value for key, value in values.items() if getattr(action, key) != usual[key] or usual[key] is _REQUIRED
    }


def action_from_json(wire: Mapping[str, Any]) -> Action:
    """Reads what `action_to_json` wrote.

    Raises:
        ConfigError: it is no action.
    """
    values = dict(wire)
    name = values.pop(KIND, None)
    if name not in _ACTIONS:
        raise ConfigError(f"there is no action {name!r}; there are {', '.join(_ACTIONS)}")
    return _read(_ACTIONS[name], values, f"the action {name}")


def seen_to_json(seen: Seen) -> dict[str, Any]:
    """What was seen, without the bytes of its picture."""
    bare = seen
    if seen.screenshot is not None:
        bare = dataclasses.replace(seen, screenshot=dataclasses.replace(seen.screenshot, png=b""))
    written: dict[str, Any] = _SEEN.dump_python(bare, mode="json")
    return written


def seen_from_json(wire: Mapping[str, Any], png: bytes) -> Seen:
    """Reads what `seen_to_json` wrote; `png` is its picture, if it has one.

    Raises:
        ConfigError: it is nothing that was seen.
    """
    seen = _read(_SEEN, wire, "what was seen")
    if seen.screenshot is None:
        return seen
    return dataclasses.replace(seen, screenshot=dataclasses.replace(seen.screenshot, png=png))


_REQUIRED = dataclasses.MISSING
_T = TypeVar("_T")


def _read(adapter: pydantic.TypeAdapter[_T], wire: object, what: str) -> _T:
    try:
        return adapter.validate_python(wire)
    except pydantic.ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise ConfigError(f"{what}: {where}: {first['msg']}") from None
