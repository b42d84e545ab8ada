"""What a dialect says, it understands: for every action it can say, in every space."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentenv_gui import actions as act
from agentenv_gui.actions import Action, Point
from agentenv_gui.codecs import DIALECTS, dialect
from agentenv_gui.codecs.contract import Dialect, DialectError, Native
from agentenv_gui.codecs.space import WHEEL_CLICK
from tests.gui_codecs.vocabulary import ACTIONS, SPACES, SURFACE, difference

BY_CLICKS = ("anthropic", "anthropic-toolset", "osworld")
"""The dialects that scroll by clicks of the wheel."""


def sayable(spoken: Dialect, actions: Sequence[Action]) -> list[Action]:
    """Those that the dialect has words for."""
    said = []
    for action in actions:
        try:
            spoken.encode([action])
        except DialectError:
            continue
        said.append(action)
    return said


@pytest.mark.parametrize("name", DIALECTS)
@settings(max_examples=25)
@given(st.sampled_from(sorted(SPACES)), st.lists(ACTIONS, max_size=8))
def test_what_a_dialect_says_it_understands(name: str, space: str, actions: list[Action]) -> None:
    spoken = dialect(name, SURFACE, space)
    meant = sayable(spoken, actions)
    calls = spoken.encode(meant)
    understood = [action for call in calls for action in spoken.decode(call)]
    assert len(understood) == len(meant)
    unit = max(1.0, SURFACE.width / spoken.space.units.width, SURFACE.height / spoken.space.units.height)
    for before, after in zip(meant, understood, strict=True):
        coarse = WHEEL_CLICK if name in BY_CLICKS and isinstance(before, act.Scroll) else unit
        assert difference(before, after) <= coarse / 2 + 1e-6


@pytest.mark.parametrize("name", [name for name in DIALECTS if issubclass(DIALECTS[name], Native)])
@settings(max_examples=15)
@given(st.lists(ACTIONS, min_size=1, max_size=8))
def test_a_call_comes_back_from_the_vendors_item(name: str, actions: list[Action]) -> None:
    spoken = dialect(name, SURFACE)
    assert isinstance(spoken, Native)
    for call in spoken.encode(sayable(spoken, actions)):
        back = spoken.call_of(spoken.item_of(call))
        assert back.id == call.id
        assert spoken.decode(back) == spoken.decode(call)


@pytest.mark.parametrize("name", DIALECTS)
def test_calls_have_ids_of_their_own(name: str) -> None:
    calls = dialect(name, SURFACE).encode([act.Press(("Enter",)), act.TypeText("a")], "turn_3")
    assert len({call.id for call in calls}) == len(calls)
    assert all(call.id.startswith("turn_3_") for call in calls)


@pytest.mark.parametrize(
    "action",
    [
        act.Move(Point(float("nan"), 0)),
        act.Click(Point(float("inf"), 0)),
        act.Scroll(float("nan"), at=Point(0, 0)),
        act.Scroll(float("inf")),
        act.Drag((Point(0, 0),)),
        act.Press(()),
        act.Press(("nonsense",)),
        act.Wait(float("nan")),
        act.Wait(1e9),
        act.TypeText("x" * 100_000),
        act.Zoom(5, 5, 5, 5),
        act.Zoom(0.0, 0.0, 0.2, 0.2),
    ],
)
def test_nonsense_has_no_words(action: Action) -> None:
    for name in DIALECTS:
        with pytest.raises(DialectError):
            dialect(name, SURFACE).encode([action])
