"""Actions of the vocabulary as hypothesis draws them, and how near two of them are."""

from __future__ import annotations

import dataclasses
import math

from hypothesis import strategies as st

from agentenv_gui import actions as act
from agentenv_gui.actions import Action, Button, Element, Ending, Point
from agentenv_gui.codecs.keys import together
from agentenv_gui.codecs.openai_computer import WAIT_SECONDS
from agentenv_gui.codecs.space import WHEEL_CLICK, Space
from agentenv_gui.seen import Size

SURFACE = Size(1280, 800)
SPACES = {name: Space.declared(name, SURFACE) for name in ("pixels", "0-1000", "640x400", "1000x700")}

KEY_NAMES = (
    "Control",
    "Shift",
    "Alt",
    "Meta",
    "Enter",
    "ArrowLeft",
    "PageDown",
    "F5",
    " ",
    "a",
    "Z",
    "7",
    "+",
    "-",
    "é",
)
CHORDS = (("Control", "a"), ("Control", "Shift", "t"), ("Alt", "F4"), ("Enter",), ("A",), ("+",), ("Control", "-"))

coordinates = st.floats(-500, 2_000)
points = st.builds(Point, coordinates, coordinates)
elements = st.builds(Element, st.integers(0, 10_000))
targets = points | elements
keys = st.sampled_from(KEY_NAMES)
chords = st.lists(keys, min_size=1, max_size=4, unique=True).map(together) | st.sampled_from(CHORDS)
held = st.just(()) | st.sampled_from((("Shift",), ("Control", "Shift"), ("Alt",)))
buttons = st.sampled_from(Button)
distances = st.sampled_from((0.0, 50.0, -50.0, WHEEL_CLICK, -3 * WHEEL_CLICK)) | st.floats(-3_000, 3_000)
seconds = st.sampled_from((1.0, WAIT_SECONDS, 5.0)) | st.floats(0, 300)

ACTIONS: st.SearchStrategy[Action] = st.one_of(
    st.builds(act.Move, targets),
    st.builds(act.Click, st.none() | targets, buttons, st.integers(1, 3), held),
    st.builds(act.ButtonDown, st.none() | targets, buttons),
    st.builds(act.ButtonUp, st.none() | targets, buttons),
    st.builds(act.Drag, st.lists(points, min_size=2, max_size=4).map(tuple), buttons, held),
    st.builds(act.Drag, st.tuples(elements, elements)),
    st.builds(act.Scroll, distances, st.just(0.0) | distances, st.none() | targets, held),
    st.builds(act.Scroll, st.just(0.0), distances, st.none() | points),
    st.builds(act.TypeText, st.text(max_size=40), st.none() | targets, st.booleans()),
    st.builds(act.Press, chords),
    st.builds(act.KeyDown, keys),
    st.builds(act.KeyUp, keys),
    st.builds(act.Hold, chords, seconds),
    st.builds(act.Choose, st.text(max_size=40), elements),
    st.builds(act.Wait, seconds),
    st.just(act.Look()),
    st.builds(act.Zoom, coordinates, coordinates, coordinates, coordinates),
    st.builds(act.Finish, st.sampled_from(Ending), st.sampled_from(("", "42"))),
)


def difference(one: object, other: object) -> float:
    """By how many pixels two actions differ at most in their places and distances; infinite where in anything else."""
    if isinstance(one, float | int) and isinstance(other, float | int):
        return abs(one - other)
    if type(one) is not type(other):
        return math.inf
    if isinstance(one, tuple) and isinstance(other, tuple):
        pairs = list(zip(one, other, strict=False)) if len(one) == len(other) else [(0, math.inf)]
    elif dataclasses.is_dataclass(one) and not isinstance(one, type):
        pairs = [(getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(one)]
    else:
        return 0.0 if one == other else math.inf
    return max((difference(left, right) for left, right in pairs), default=0.0)
