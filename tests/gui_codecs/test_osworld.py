"""OSWorld's `computer_13`."""

from __future__ import annotations

import json

import pytest

from agentenv.messages import ToolCall
from agentenv_gui import actions as act
from agentenv_gui.actions import Action, Button, Ending, Point
from agentenv_gui.codecs.contract import DialectError
from agentenv_gui.codecs.osworld import WAIT_SECONDS, OSWorld
from agentenv_gui.codecs.space import WHEEL_CLICK, Space
from agentenv_gui.seen import Size

OSWORLD = OSWorld(Space.declared("pixels", Size(1920, 1080)))
MEANINGS: list[tuple[dict[str, object], tuple[Action, ...]]] = [
    ({"action_type": "MOVE_TO", "x": 1319.11, "y": 65.06}, (act.Move(Point(1319.11, 65.06)),)),
    ({"action_type": "CLICK"}, (act.Click(),)),
    ({"action_type": "CLICK", "button": "right", "x": 1, "y": 2}, (act.Click(Point(1, 2), Button.RIGHT),)),
    ({"action_type": "CLICK", "x": 1, "y": 2, "num_clicks": 3}, (act.Click(Point(1, 2), count=3),)),
    ({"action_type": "MOUSE_DOWN"}, (act.ButtonDown(),)),
    ({"action_type": "MOUSE_UP", "button": "middle"}, (act.ButtonUp(button=Button.MIDDLE),)),
    ({"action_type": "RIGHT_CLICK", "x": 1, "y": 2}, (act.Click(Point(1, 2), Button.RIGHT),)),
    ({"action_type": "DOUBLE_CLICK"}, (act.Click(count=2),)),
    ({"action_type": "DRAG_TO", "x": 1, "y": 2}, (act.ButtonDown(), act.Move(Point(1, 2)), act.ButtonUp())),
    ({"action_type": "SCROLL", "dx": 0, "dy": 2}, (act.Scroll(down=-2 * WHEEL_CLICK),)),
    ({"action_type": "SCROLL", "dx": 1, "dy": -3}, (act.Scroll(down=3 * WHEEL_CLICK, right=WHEEL_CLICK),)),
    ({"action_type": "TYPING", "text": "it's"}, (act.TypeText("it's"),)),
    ({"action_type": "PRESS", "key": "pagedown"}, (act.Press(("PageDown",)),)),
    ({"action_type": "KEY_DOWN", "key": "shift"}, (act.KeyDown("Shift"),)),
    ({"action_type": "KEY_UP", "key": "shift"}, (act.KeyUp("Shift"),)),
    ({"action_type": "HOTKEY", "keys": ["ctrl", "a"]}, (act.Press(("Control", "a")),)),
    ({"action_type": "WAIT"}, (act.Wait(WAIT_SECONDS),)),
    ({"action_type": "FAIL"}, (act.Finish(Ending.IMPOSSIBLE),)),
    ({"action_type": "DONE"}, (act.Finish(),)),
]


def decode(wire: object) -> tuple[Action, ...]:
    return OSWORLD.decode(ToolCall("c", "computer", json.dumps(wire)))


@pytest.mark.parametrize(("wire", "actions"), MEANINGS)
def test_an_action_of_osworld_means_some_of_ours(wire: dict[str, object], actions: tuple[Action, ...]) -> None:
    assert decode(wire) == actions


@pytest.mark.parametrize(("wire", "actions"), MEANINGS)
def test_parameters_may_stand_apart(wire: dict[str, object], actions: tuple[Action, ...]) -> None:
    parameters = {name: value for name, value in wire.items() if name != "action_type"}
    assert decode({"action_type": wire["action_type"], "parameters": parameters}) == actions


def test_all_actions_are_there() -> None:
    assert {wire["action_type"] for wire, _ in MEANINGS} == set(OSWORLD.words)


@pytest.mark.parametrize(
    ("wire", "said"),
    [
        ({"action_type": "CLICK", "x": 1}, "x and y go together"),
        ({"action_type": "CLICK", "num_clicks": 4}, "less than or equal to 3"),
        ({"action_type": "PRESS", "key": "entr"}, "Did you mean 'Enter'"),
        ({"action_type": "CLICK", "parameters": {"action_type": "DONE"}}, "parameters is an object"),
        ({"action_type": "CLICK", "parameters": [1, 2]}, "parameters is an object"),
        ({"action_type": "DONE", "x": 1}, "no field 'x'"),
        ("DONE", "the arguments are an object"),
    ],
)
def test_a_wrong_action_tells_what_is_wrong(wire: object, said: str) -> None:
    with pytest.raises(DialectError, match=said):
        decode(wire)


def test_less_than_half_a_click_of_the_wheel_has_no_words() -> None:
    with pytest.raises(DialectError, match="clicks of 100 pixels"):
        OSWORLD.encode([act.Scroll(down=10)])
