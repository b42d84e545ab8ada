"""Finds the methods an object's class has marked (`@tool`, `@reward`), once per class: each episode has a new one."""

from __future__ import annotations

import functools
from typing import Any


def marked_names(owner: object, mark: str) -> tuple[str, ...]:
    """Names of the attributes that carry a mark in the owner's class, in the order of their definition, bases first.

    An attribute that a class is given after the first look is not seen.
    """
    kind: Any = type(owner)
    return _names(kind, mark)


@functools.lru_cache(maxsize=4096)
def _names(kind: type[Any], mark: str) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for base in reversed(kind.__mro__):
        names.update(dict.fromkeys(key for key, value in vars(base).items() if hasattr(value, mark)))
    return tuple(names)
