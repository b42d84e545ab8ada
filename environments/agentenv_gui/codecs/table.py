"""What each dialect can say, found by letting it: the table of `docs/gui-actions.md`."""

from __future__ import annotations

from agentenv_gui import actions as act
from agentenv_gui.actions import Action, Button, Element, Ending, Point
from agentenv_gui.codecs import DIALECTS, dialect
from agentenv_gui.codecs.contract import Dialect, DialectError
from agentenv_gui.codecs.space import WHEEL_CLICK
from agentenv_gui.seen import Size

BEGIN, END = "<!-- dialects:begin -->", "<!-- dialects:end -->"
"""Between these lines of a page its table is."""

_HERE, _THERE, _ELEMENT = Point(100, 200), Point(300, 400), Element(7)

SAMPLES: tuple[tuple[str, tuple[Action, ...]], ...] = (
    ("`Move` to a place", (act.Move(_HERE),)),
    ("`Move` to an element", (act.Move(_ELEMENT),)),
    ("`Click` at a place", (act.Click(_HERE),)),
    ("`Click` on an element", (act.Click(_ELEMENT),)),
    ("`Click` where the pointer is", (act.Click(),)),
    ("… with the right button", (act.Click(_HERE, Button.RIGHT), act.Click(_ELEMENT, Button.RIGHT))),
    ("… with the middle button", (act.Click(_HERE, Button.MIDDLE), act.Click(_ELEMENT, Button.MIDDLE))),
    ("… with back and forward", (act.Click(_HERE, Button.BACK), act.Click(_ELEMENT, Button.FORWARD))),
    ("… twice", (act.Click(_HERE, count=2), act.Click(_ELEMENT, count=2))),
    ("… three times", (act.Click(_HERE, count=3), act.Click(_ELEMENT, count=3))),
    ("… holding keys", (act.Click(_HERE, holding=("Shift",)), act.Click(_ELEMENT, holding=("Shift",)))),
    ("`ButtonDown`, `ButtonUp` at a place", (act.ButtonDown(_HERE), act.ButtonUp(_HERE))),
    ("`ButtonDown`, `ButtonUp` where the pointer is", (act.ButtonDown(), act.ButtonUp())),
    ("`Drag` between places", (act.Drag((_HERE, _THERE)),)),
    ("`Drag` through places", (act.Drag((_HERE, _THERE, _HERE)),)),
    ("`Drag` between elements", (act.Drag((_ELEMENT, Element(8))),)),
    ("`Scroll` at a place", (act.Scroll(WHEEL_CLICK, at=_HERE), act.Scroll(50, at=_HERE))),
    ("`Scroll` in an element", (act.Scroll(WHEEL_CLICK, at=_ELEMENT),)),
    ("`Scroll` where the pointer is", (act.Scroll(WHEEL_CLICK),)),
    ("`Scroll` sideways", tuple(act.Scroll(right=WHEEL_CLICK, at=at) for at in (_HERE, _ELEMENT, None))),
    ("`TypeText`", (act.TypeText("text"),)),
    ("`TypeText` into a place", (act.TypeText("text", _HERE),)),
    ("`TypeText` into an element", (act.TypeText("text", _ELEMENT),)),
    ("`TypeText` that replaces", (act.TypeText("text", _HERE, True), act.TypeText("text", _ELEMENT, True))),
    ("`Press`", (act.Press(("Control", "a")),)),
    ("`KeyDown`, `KeyUp`", (act.KeyDown("Shift"), act.KeyUp("Shift"))),
    ("`Hold`", (act.Hold(("w",), 2),)),
    ("`Choose`", (act.Choose("option", _ELEMENT),)),
    ("`Wait` for two seconds", (act.Wait(2),)),
    ("`Wait` for any time", (act.Wait(3),)),
    ("`Look`", (act.Look(),)),
    ("`Zoom`", (act.Zoom(0, 0, 100, 100),)),
    ("`Finish`", (act.Finish(), act.Finish(Ending.IMPOSSIBLE))),
    ("`Finish` with an answer", (act.Finish(text="42"),)),
)
"""Rows of the table: a dialect has a tick for those of which it can say an example."""


def can_say(spoken: Dialect, action: Action) -> bool:
    """Whether a dialect says an action, and understands itself."""
    try:
        calls = spoken.encode([action])
    except DialectError:
        return False
    return [understood for call in calls for understood in spoken.decode(call)] == [action]


def markdown() -> str:
    """The table."""
    spoken = [dialect(name, Size(1280, 800)) for name in DIALECTS]
    lines = [["action", *(f"`{name}`" for name in DIALECTS)], [":--", *[":-:"] * len(DIALECTS)]]
    for row, examples in SAMPLES:
        lines.append([row, *("✓" if any(can_say(one, example) for example in examples) else "" for one in spoken)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def between_markers(page: str) -> str:
    """A page with the table as it is now.

    Raises:
        ValueError: it does not have the markers.
    """
    before, begun, rest = page.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not begun or not ended:
        raise ValueError(f"the page must have {BEGIN} and then {END}")
    return f"{before}{BEGIN}\n{markdown()}\n{END}{after}"
