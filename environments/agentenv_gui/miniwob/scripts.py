"""What is put into a page of MiniWoB++ before its own scripts."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

_HERE = Path(__file__).parent
_ORDER = ("clock.js", "state.js", "episode.js", "oracles/words.js")

_WIDGET = "a jQuery widget that the page makes once keeps what it was used for"
_LEFT = "what jQuery has put beside the task stays there"
_DRAWS = "jQuery draws one random number more or less than in a new page"
_GOES_ON = "animations and timers of the last episode go on"

RELOADED: Mapping[str, str] = {
    "book-flight": _LEFT,
    "book-flight-nodelay": _LEFT,
    "chase-circle": _GOES_ON,
    "choose-date": _WIDGET,
    "choose-date-easy": _WIDGET,
    "choose-date-medium": _WIDGET,
    "choose-date-nodelay": _WIDGET,
    "click-menu": _DRAWS,
    "click-menu-2": _WIDGET,
    "click-pie": _GOES_ON,
    "click-pie-nodelay": _GOES_ON,
    "drag-cube": "the cube stays as it was turned",
    "form-sequence-3": "the list that drops down keeps listening",
    "moving-items": _GOES_ON,
    "navigate-tree": _DRAWS,
    "text-editor": "the editor's popup stays beside the task",
    "use-autocomplete": _LEFT,
    "use-autocomplete-nodelay": _LEFT,
    "use-colorwheel": "the field keeps the colour",
    "use-colorwheel-2": "the field keeps the colour",
    "use-spinner": _WIDGET,
}
"""Tasks whose pages are loaded anew for each episode, since something of the last one would stay: what, in words.
`proof` finds them, and a test holds the list to it."""


@functools.cache
def bundle() -> str:
    """The scripts, as one."""
    oracles = sorted(str(file.relative_to(_HERE)) for file in (_HERE / "oracles").glob("*.js"))
    names = [*_ORDER, *(name for name in oracles if name not in _ORDER)]
    return "\n".join((_HERE / name).read_text(encoding="utf-8") for name in names)
