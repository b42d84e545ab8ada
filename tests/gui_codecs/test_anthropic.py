"""Anthropic's tool `computer_20251124` and its toolset, held against the package `anthropic`."""

from __future__ import annotations

import json
import typing

import pytest
from anthropic.types import ToolUseBlock
from anthropic.types.beta import (
    BetaComputerMemberName,
    BetaComputerToolset20260801Param,
    BetaComputerToolUseBlock,
    BetaToolComputerUse20251124,
)
from pydantic import TypeAdapter

from agentenv.messages import ToolCall
from agentenv_gui import actions as act
from agentenv_gui.actions import Action, Button, Point
from agentenv_gui.codecs.anthropic_computer import AnthropicComputer
from agentenv_gui.codecs.anthropic_toolset import AnthropicToolset
from agentenv_gui.codecs.contract import DialectError
from agentenv_gui.codecs.space import WHEEL_CLICK, Space
from agentenv_gui.seen import Size

SPACE = Space.declared("pixels", Size(1280, 800))
COMPUTER, TOOLSET = AnthropicComputer(SPACE), AnthropicToolset(SPACE)
MEANINGS: list[tuple[dict[str, object], tuple[Action, ...]]] = [
    ({"action": "left_click", "coordinate": [1, 2]}, (act.Click(Point(1, 2)),)),
    ({"action": "left_click", "coordinate": [1, 2], "text": "ctrl"}, (act.Click(Point(1, 2), holding=("Control",)),)),
    ({"action": "left_click"}, (act.Click(),)),
    ({"action": "right_click", "coordinate": [1, 2]}, (act.Click(Point(1, 2), Button.RIGHT),)),
    ({"action": "middle_click", "coordinate": [1, 2]}, (act.Click(Point(1, 2), Button.MIDDLE),)),
    ({"action": "double_click", "coordinate": [1, 2]}, (act.Click(Point(1, 2), count=2),)),
    ({"action": "triple_click", "coordinate": [1, 2]}, (act.Click(Point(1, 2), count=3),)),
    ({"action": "mouse_move", "coordinate": [1, 2]}, (act.Move(Point(1, 2)),)),
    (
        {"action": "left_click_drag", "start_coordinate": [1, 2], "coordinate": [3, 4]},
        (act.Drag((Point(1, 2), Point(3, 4))),),
    ),
    ({"action": "left_mouse_down"}, (act.ButtonDown(),)),
    ({"action": "left_mouse_up"}, (act.ButtonUp(),)),
    (
        {"action": "scroll", "coordinate": [1, 2], "scroll_direction": "down", "scroll_amount": 3},
        (act.Scroll(down=3 * WHEEL_CLICK, at=Point(1, 2)),),
    ),
    ({"action": "scroll", "scroll_direction": "up", "scroll_amount": 1}, (act.Scroll(down=-WHEEL_CLICK),)),
    ({"action": "scroll", "scroll_direction": "left", "scroll_amount": 2}, (act.Scroll(right=-2 * WHEEL_CLICK),)),
    (
        {"action": "scroll", "scroll_direction": "right", "scroll_amount": 1, "text": "shift"},
        (act.Scroll(right=WHEEL_CLICK, holding=("Shift",)),),
    ),
    ({"action": "type", "text": "Hello\n"}, (act.TypeText("Hello\n"),)),
    ({"action": "key", "text": "Return"}, (act.Press(("Enter",)),)),
    ({"action": "key", "text": "ctrl+shift+T"}, (act.Press(("Control", "Shift", "t")),)),
    ({"action": "key", "text": "Down Down"}, (act.Press(("ArrowDown",)), act.Press(("ArrowDown",)))),
    ({"action": "hold_key", "text": "shift+w", "duration": 2}, (act.Hold(("Shift", "w"), 2),)),
    ({"action": "wait", "duration": 2}, (act.Wait(2),)),
    ({"action": "screenshot"}, (act.Look(),)),
    ({"action": "cursor_position"}, (act.Look(),)),
    ({"action": "zoom", "region": [10, 20, 30, 40]}, (act.Zoom(10, 20, 30, 40),)),
]


def member(wire: dict[str, object]) -> ToolCall:
    """The call of a member that is the same as one of the tool."""
    fields = {name: value for name, value in wire.items() if name != "action"}
    return ToolCall("c", str(wire["action"]), json.dumps(fields))


def test_the_members_and_their_fields_are_those_of_the_package() -> None:
    (union, *_) = typing.get_args(BetaComputerToolUseBlock)
    theirs = {}
    for block in typing.get_args(union):
        (name,) = typing.get_args(block.model_fields["name"].annotation)
        theirs[name] = set(block.model_fields["input"].annotation.model_fields)
    assert {name: set(word.phrase.model_fields) for name, word in TOOLSET.words.items()} == theirs
    assert set(TOOLSET.words) == set(typing.get_args(BetaComputerMemberName))
    assert set(COMPUTER.words) == set(TOOLSET.words)


@pytest.mark.parametrize(("wire", "actions"), MEANINGS)
def test_the_tool_and_the_member_mean_the_same(wire: dict[str, object], actions: tuple[Action, ...]) -> None:
    assert COMPUTER.decode(ToolCall("c", "computer", json.dumps(wire))) == actions
    assert TOOLSET.decode(member(wire)) == actions


def test_a_member_can_repeat_a_key_and_the_tool_cannot() -> None:
    fields = json.dumps({"text": "Tab", "repeat": 4})
    assert TOOLSET.decode(ToolCall("c", "key", fields)) == (act.Press(("Tab",)),) * 4
    with pytest.raises(DialectError, match="no field 'repeat'"):
        COMPUTER.decode(ToolCall("c", "computer", json.dumps({"action": "key", "text": "Tab", "repeat": 4})))


def test_a_member_takes_whole_seconds() -> None:
    assert TOOLSET.decode(ToolCall("c", "wait", '{"duration": 2.0}')) == (act.Wait(2),)
    with pytest.raises(DialectError, match="integer"):
        TOOLSET.encode([act.Wait(1.5)])
    (call,) = COMPUTER.encode([act.Wait(1.5)])
    assert COMPUTER.decode(call) == (act.Wait(1.5),)


def test_blocks_are_those_of_the_package() -> None:
    actions: list[Action] = [
        act.Click(Point(1, 2), holding=("Control",)),
        act.Scroll(WHEEL_CLICK),
        act.Press(("Enter",)),
    ]
    for call in TOOLSET.encode(actions):
        block = TOOLSET.item_of(call)
        parsed = TypeAdapter[typing.Any](BetaComputerToolUseBlock).validate_python(block)
        assert parsed.to_dict() == block
    for call in COMPUTER.encode(actions):
        block = COMPUTER.item_of(call)
        assert ToolUseBlock.model_validate(block).to_dict() == block


def test_declarations_are_those_of_the_package() -> None:
    TypeAdapter(BetaComputerToolset20260801Param).validate_python(TOOLSET.declaration)
    declared = BetaToolComputerUse20251124.model_validate(COMPUTER.declaration)
    assert (declared.display_width_px, declared.display_height_px, declared.enable_zoom) == (1280, 800, True)


def test_a_block_of_another_kind_is_no_call() -> None:
    for spoken in (COMPUTER, TOOLSET):
        with pytest.raises(DialectError, match="tool_use"):
            spoken.call_of({"type": "text", "text": "hello"})


@pytest.mark.parametrize(
    ("wire", "said"),
    [
        ({"action": "left_clik"}, "Did you mean 'left_click'"),
        ({"action": "left_click", "coordinate": [1]}, "coordinate"),
        ({"action": "left_click", "coordinate": {"x": 1, "y": 2}}, "valid list"),
        ({"action": "left_click", "coordinates": [1, 2]}, r"no field 'coordinates' \(Did you mean 'coordinate'\?\)"),
        ({"action": "left_click", "text": "hello"}, "no key 'hello'"),
        ({"action": "left_mouse_down", "coordinate": [1, 2]}, "no field 'coordinate'"),
        ({"action": "scroll", "scroll_direction": "down", "scroll_amount": -1}, "greater than or equal to 0"),
        ({"action": "scroll", "scroll_direction": "south", "scroll_amount": 1}, "'up', 'down'"),
        ({"action": "wait", "duration": 301}, "less than or equal to 300"),
        ({"action": "zoom", "region": [30, 20, 10, 40]}, "is empty"),
        ({"action": "key", "text": ""}, "at least 1 character"),
        ({"action": "mouse_move"}, "coordinate is missing"),
    ],
)
def test_a_wrong_call_tells_what_is_wrong(wire: dict[str, object], said: str) -> None:
    with pytest.raises(DialectError, match=said):
        COMPUTER.decode(ToolCall("c", "computer", json.dumps(wire)))
    with pytest.raises(DialectError, match=said):
        TOOLSET.decode(member(wire))
