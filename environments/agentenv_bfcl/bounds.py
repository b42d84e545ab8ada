"""Calls of BFCL's simulators that would keep the whole process busy are refused before they are made.

The functions are plain Python and run in the event loop, where nothing can stop them: `power(7, 10**9)` would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agentenv.tools import ToolError

MOST_DIGITS = 4_000
"""Of a number: Python itself does not print more than 4,300."""
MOST_ENTRIES = 100_000
"""Of a tree of files. Copies of a folder share what is in it, so ten calls can make a tree of a million entries."""

_BITS_A_DIGIT = 3.33
_WALKS = ("find", "du")


def check_bounds(world: Any, function: str, positional: Sequence[Any], named: Mapping[str, Any]) -> None:
    """Refuses a call that would take too long.

    Raises:
        ToolError: it would; the message is for the model.
    """
    if function == "power":
        base, exponent = _argument(positional, named, 0, "base"), _argument(positional, named, 1, "exponent")
        if _whole(base) and _whole(exponent) and base.bit_length() * abs(exponent) > MOST_DIGITS * _BITS_A_DIGIT:
            raise ToolError(f"Error during execution: the result has more than {MOST_DIGITS} digits")
    elif function in _PRECISIONS:
        place, name = _PRECISIONS[function]
        precision = _argument(positional, named, place, name)
        if isinstance(precision, int | float) and not -MOST_DIGITS <= precision <= MOST_DIGITS:
            raise ToolError(f"Error during execution: {name} must lie between -{MOST_DIGITS} and {MOST_DIGITS}")
    elif function in _WALKS and _is_large(world._current_dir):
        raise ToolError(f"Error during execution: {function}: more than {MOST_ENTRIES} files and directories")


_PRECISIONS = {"logarithm": (2, "precision"), "square_root": (1, "precision"), "round_number": (1, "decimal_places")}


def _argument(positional: Sequence[Any], named: Mapping[str, Any], place: int, name: str) -> Any:
    return positional[place] if place < len(positional) else named.get(name)


def _whole(value: Any) -> bool:
    return isinstance(value, int)


def _is_large(directory: Any) -> bool:
    left, waiting = MOST_ENTRIES, [directory]
    while waiting:
        found = waiting.pop().contents
        left -= len(found)
        if left < 0:
            return True
        waiting += [entry for entry in found.values() if hasattr(entry, "contents")]
    return False
