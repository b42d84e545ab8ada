"""The actions of MiniWoB++."""

from __future__ import annotations

import json

import pytest

from agentenv.messages import ToolCall
from agentenv_gui import actions as act
from agentenv_gui.actions import Action, Element, Point
from agentenv_gui.codecs.contract import DialectError
from agentenv_gui.codecs.miniwob import SCROLL_PIXELS, MiniWoB
from agentenv_gui.codecs.space import Space
from agentenv_gui.seen import Size

SPACE = Space.declared("pixels", Size(160, 210))
MINIWOB = MiniWoB(SPACE, ["ONE", "two"])
MEANINGS: list[tuple[dict[str, object], Action]] = [
    ({"action_type": "NONE"}, act.Look()),
    ({"action_type": "MOVE_COORDS", "coords": [1, 2]}, act.Move(Point(1, 2))),
    ({"action_type": "CLICK_COORDS", "coords": [1.5, 2]}, act.Click(Point(1.5, 2))),
    ({"action_type": "DBLCLICK_COORDS", "coords": [1, 2]}, act.Click(Point(1, 2), count=2)),
    ({"action_type": "MOUSEDOWN_COORDS", "coords": [1, 2]}, act.ButtonDown(Point(1, 2))),
    ({"action_type": "MOUSEUP_COORDS", "coords": [1, 2]}, act.ButtonUp(Point(1, 2))),
    ({"action_type": "SCROLL_UP_COORDS", "coords": [1, 2]}, act.Scroll(-SCROLL_PIXELS, at=Point(1, 2))),
    ({"action_type": "SCROLL_DOWN_COORDS", "coords": [1, 2]}, act.Scroll(SCROLL_PIXELS, at=Point(1, 2))),
    ({"action_type": "CLICK_ELEMENT", "ref": 7}, act.Click(Element(7))),
    ({"action_type": "PRESS_KEY", "key": "<Enter>"}, act.Press(("Enter",))),
    ({"action_type": "PRESS_KEY", "key": "C-a"}, act.Press(("Control", "a"))),
    ({"action_type": "PRESS_KEY", "key": "C-S-<ArrowLeft>"}, act.Press(("Control", "Shift", "ArrowLeft"))),
    ({"action_type": "PRESS_KEY", "key": "C--"}, act.Press(("Control", "-"))),
    ({"action_type": "PRESS_KEY", "key": "<"}, act.Press(("<",))),
    ({"action_type": "PRESS_KEY", "key": "A"}, act.Press(("A",))),
    ({"action_type": "TYPE_TEXT", "text": "abc"}, act.TypeText("abc")),
    ({"action_type": "TYPE_FIELD", "field": 1}, act.TypeText("two")),
    ({"action_type": "FOCUS_ELEMENT_AND_TYPE_TEXT", "ref": 7, "text": "abc"}, act.TypeText("abc", Element(7))),
    ({"action_type": "FOCUS_ELEMENT_AND_TYPE_FIELD", "ref": 7, "field": 0}, act.TypeText("ONE", Element(7))),
]


def decode(wire: dict[str, object]) -> tuple[Action, ...]:
    return MINIWOB.decode(ToolCall("c", "act", json.dumps(wire)))


@pytest.mark.parametrize(("wire", "action"), MEANINGS)
def test_an_action_of_miniwob_means_one_of_ours(wire: dict[str, object], action: Action) -> None:
    assert decode(wire) == (action,)


def test_all_actions_are_there() -> None:
    assert {wire["action_type"] for wire, _ in MEANINGS} == set(MINIWOB.words)


def test_a_field_that_the_task_does_not_have_is_told() -> None:
    with pytest.raises(DialectError, match="no field 2: there are 2"):
        decode({"action_type": "TYPE_FIELD", "field": 2})


def test_without_fields_nobody_is_offered_to_type_them() -> None:
    plain = MiniWoB(SPACE)
    (tool,) = plain.tools
    assert not any(name.endswith("_FIELD") for name in tool.parameters["properties"]["action_type"]["enum"])
    with pytest.raises(DialectError, match="no action 'TYPE_FIELD'"):
        plain.decode(ToolCall("c", "act", '{"action_type": "TYPE_FIELD", "field": 0}'))


@pytest.mark.parametrize("key", ["C-", "X-a", "<Nope>", "ctrl+a"])
def test_a_key_that_is_none_is_told(key: str) -> None:
    with pytest.raises(DialectError, match="no key"):
        decode({"action_type": "PRESS_KEY", "key": key})


def test_keys_that_are_no_combination_have_no_words() -> None:
    with pytest.raises(DialectError, match="presses one key"):
        MINIWOB.encode([act.Press(("a", "b"))])
