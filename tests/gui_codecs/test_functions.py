"""Plain function tools, over elements and over places."""

from __future__ import annotations

import json

import pytest

from agentenv.messages import ToolCall
from agentenv.tools import ToolErrorKind
from agentenv_gui import actions as act
from agentenv_gui.actions import Action, Button, Element, Ending, Point
from agentenv_gui.codecs import DIALECTS, dialect
from agentenv_gui.codecs.contract import DialectError
from agentenv_gui.codecs.elements import Elements
from agentenv_gui.codecs.places import Places
from agentenv_gui.codecs.space import Space
from agentenv_gui.seen import Size

SURFACE = Size(1280, 800)
ELEMENTS = Elements(Space.declared("0-1000", SURFACE))
PLACES = Places(Space.declared("0-1000", SURFACE))


@pytest.mark.parametrize(
    ("name", "arguments", "action"),
    [
        ("click", {"element": 7}, act.Click(Element(7))),
        ("click", {"element": 7, "button": "right", "count": 2}, act.Click(Element(7), Button.RIGHT, 2)),
        ("click", {"element": 7, "holding": "Control"}, act.Click(Element(7), holding=("Control",))),
        ("type", {"text": "a"}, act.TypeText("a")),
        ("type", {"element": 7, "text": "a", "clear": True}, act.TypeText("a", Element(7), True)),
        ("choose", {"element": 7, "option": "Blue"}, act.Choose("Blue", Element(7))),
        ("scroll", {"element": 7, "down": 120}, act.Scroll(120, at=Element(7))),
        ("scroll", {"right": -10}, act.Scroll(right=-10)),
        ("hover", {"element": 7}, act.Move(Element(7))),
        ("drag", {"start": 7, "end": 8}, act.Drag((Element(7), Element(8)))),
        ("press", {"keys": "Control+a"}, act.Press(("Control", "a"))),
        ("wait", {}, act.Wait(1)),
        ("look", {}, act.Look()),
        ("done", {}, act.Finish()),
        ("done", {"ending": "impossible", "text": "no"}, act.Finish(Ending.IMPOSSIBLE, "no")),
    ],
)
def test_a_tool_over_elements_means_an_action(name: str, arguments: dict[str, object], action: Action) -> None:
    assert ELEMENTS.decode(ToolCall("c", name, json.dumps(arguments))) == (action,)


@pytest.mark.parametrize(
    ("name", "arguments", "action"),
    [
        ("click", {"at": [500, 500]}, act.Click(Point(640, 400))),
        ("click", {}, act.Click()),
        ("type", {"at": [0, 0], "text": "a"}, act.TypeText("a", Point(0, 0))),
        ("scroll", {"at": [0, 0], "down": 500}, act.Scroll(400, at=Point(0, 0))),
        ("move", {"at": [1000, 0]}, act.Move(Point(1280, 0))),
        ("drag", {"path": [[0, 0], [500, 0], [500, 500]]}, act.Drag((Point(0, 0), Point(640, 0), Point(640, 400)))),
        ("button_down", {"at": [0, 0], "button": "right"}, act.ButtonDown(Point(0, 0), Button.RIGHT)),
        ("button_up", {}, act.ButtonUp()),
        ("key_down", {"key": "Shift"}, act.KeyDown("Shift")),
        ("key_up", {"key": "Shift"}, act.KeyUp("Shift")),
        ("hold", {"keys": "w", "seconds": 2}, act.Hold(("w",), 2)),
        ("zoom", {"area": [0, 0, 500, 500]}, act.Zoom(0, 0, 640, 400)),
        ("done", {"text": "42"}, act.Finish(text="42")),
    ],
)
def test_a_tool_over_places_means_an_action(name: str, arguments: dict[str, object], action: Action) -> None:
    assert PLACES.decode(ToolCall("c", name, json.dumps(arguments))) == (action,)


def test_each_aims_at_its_own() -> None:
    with pytest.raises(DialectError, match="aims at elements, not at places"):
        ELEMENTS.encode([act.Click(Point(1, 2))])
    with pytest.raises(DialectError, match="aims at places, not at an element"):
        PLACES.encode([act.Click(Element(1))])


def test_an_unknown_tool_is_told_with_near_ones() -> None:
    with pytest.raises(DialectError, match=r"there is no tool 'clik'\. Did you mean 'click'") as told:
        ELEMENTS.decode(ToolCall("c", "clik", "{}"))
    assert told.value.kind is ToolErrorKind.UNKNOWN_TOOL


@pytest.mark.parametrize("name", DIALECTS)
def test_tools_are_described_in_json_schema(name: str) -> None:
    for tool in dialect(name, SURFACE).tools:
        assert tool.description
        assert json.loads(json.dumps(tool.parameters))["type"] == "object"
        assert set(tool.parameters["required"]) <= set(tool.parameters["properties"])
        assert "$defs" not in json.dumps(tool.parameters)


@pytest.mark.parametrize("name", [name for name in DIALECTS if name != "elements"])
def test_a_policy_is_told_in_which_units_places_are(name: str) -> None:
    said = " ".join(tool.description for tool in dialect(name, SURFACE, "640x400").tools)
    assert "640x400" in said
