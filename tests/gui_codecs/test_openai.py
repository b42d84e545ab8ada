"""OpenAI's `computer` tool and `computer-use-preview`, held against the package `openai`."""

from __future__ import annotations

import json
import typing

import pytest
from openai.types.responses import ComputerAction, ComputerTool, ComputerUsePreviewTool, ResponseComputerToolCall

from agentenv.messages import ToolCall
from agentenv_gui import actions as act
from agentenv_gui.actions import Action, Button, Point
from agentenv_gui.codecs.contract import DialectError
from agentenv_gui.codecs.openai_computer import WAIT_SECONDS, OpenAI, OpenAIPreview
from agentenv_gui.codecs.space import Space
from agentenv_gui.seen import Size

SPACE = Space.declared("pixels", Size(1280, 800))
OPENAI, PREVIEW = OpenAI(SPACE), OpenAIPreview(SPACE)


def meant(*actions: object) -> tuple[Action, ...]:
    """What a batch of the vendor's actions means."""
    return OPENAI.decode(OPENAI.call_of({"type": "computer_call", "call_id": "c", "actions": list(actions)}))


def test_its_words_and_fields_are_those_of_the_package() -> None:
    (union, _) = typing.get_args(ComputerAction)
    theirs = {}
    for model in typing.get_args(union):
        fields = dict(model.model_fields)
        (word,) = typing.get_args(fields.pop("type").annotation)
        theirs[word] = set(fields)
    assert {word: set(ours.phrase.model_fields) for word, ours in OPENAI.words.items()} == theirs


def test_a_batch_is_carried_out_in_its_order() -> None:
    assert meant(
        {"type": "click", "button": "left", "x": 405, "y": 157},
        {"type": "type", "text": "penguin"},
        {"type": "keypress", "keys": ["ENTER"]},
        {"type": "wait"},
        {"type": "screenshot"},
    ) == (
        act.Click(Point(405, 157)),
        act.TypeText("penguin"),
        act.Press(("Enter",)),
        act.Wait(WAIT_SECONDS),
        act.Look(),
    )


@pytest.mark.parametrize(
    ("wire", "action"),
    [
        ({"type": "click", "x": 1, "y": 2, "button": "wheel"}, act.Click(Point(1, 2), Button.MIDDLE)),
        ({"type": "click", "x": 1, "y": 2, "keys": ["SHIFT"]}, act.Click(Point(1, 2), holding=("Shift",))),
        ({"type": "click", "x": 1.5, "y": 2, "keys": None}, act.Click(Point(1.5, 2))),
        ({"type": "double_click", "x": 1, "y": 2}, act.Click(Point(1, 2), count=2)),
        ({"type": "move", "x": 1, "y": 2}, act.Move(Point(1, 2))),
        ({"type": "drag", "path": [{"x": 1, "y": 2}, {"x": 3, "y": 4}]}, act.Drag((Point(1, 2), Point(3, 4)))),
        ({"type": "drag", "path": [[1, 2], [3, 4]]}, act.Drag((Point(1, 2), Point(3, 4)))),
        (
            {"type": "scroll", "x": 1, "y": 2, "scroll_x": 0, "scroll_y": 300},
            act.Scroll(down=300, at=Point(1, 2)),
        ),
        ({"type": "keypress", "keys": ["CTRL", "A"]}, act.Press(("Control", "a"))),
        ({"type": "keypress", "keys": ["CTRL", "SHIFT", "ARROWLEFT"]}, act.Press(("Control", "Shift", "ArrowLeft"))),
    ],
)
def test_an_action_of_the_vendor_means_one_of_ours(wire: dict[str, object], action: Action) -> None:
    assert meant(wire) == (action,)


def test_keys_that_are_no_modifiers_are_pressed_in_turn() -> None:
    down = act.Press(("ArrowDown",))
    assert meant({"type": "keypress", "keys": ["DOWN", "DOWN"]}) == (down, down)
    assert meant({"type": "keypress", "keys": ["CTRL", "K", "S"]}) == (
        act.Press(("Control", "k")),
        act.Press(("Control", "s")),
    )
    with pytest.raises(DialectError, match="no words"):
        OPENAI.encode([act.Press(("a", "b"))])


def test_a_move_with_keys_is_said_in_the_words_there_are() -> None:
    assert meant({"type": "move", "x": 1, "y": 2, "keys": ["CTRL", "ALT"]}) == (
        act.KeyDown("Control"),
        act.KeyDown("Alt"),
        act.Move(Point(1, 2)),
        act.KeyUp("Alt"),
        act.KeyUp("Control"),
    )


def test_distances_of_a_scroll_are_in_the_units_of_its_space() -> None:
    spoken = OpenAI(Space.declared("640x400", Size(1280, 800)))
    (call,) = spoken.encode([act.Scroll(down=300, right=-20, at=Point(100, 200))])
    assert json.loads(call.arguments) == {
        "actions": [{"type": "scroll", "x": 50, "y": 100, "scroll_x": -10, "scroll_y": 150}]
    }


def test_items_are_those_of_the_package() -> None:
    dragged = act.Drag((Point(1, 2), Point(3, 4)), holding=("Shift",))
    (call,) = OPENAI.encode([act.Click(Point(1, 2)), dragged, act.Press(("Enter",))])
    item = OPENAI.item_of(call)
    parsed = ResponseComputerToolCall.model_validate(item)
    assert parsed.to_dict() == item
    assert [action.type for action in parsed.actions or ()] == ["click", "drag", "keypress"]
    ComputerTool.model_validate(OPENAI.declaration)


def test_the_older_tool_has_one_action_a_call() -> None:
    (first, second) = PREVIEW.encode([act.Click(Point(1, 2)), act.TypeText("a")])
    assert json.loads(first.arguments) == {"type": "click", "x": 1, "y": 2, "button": "left"}
    item = PREVIEW.item_of(second)
    assert ResponseComputerToolCall.model_validate(item).to_dict() == item
    assert item["action"] == {"type": "type", "text": "a"}
    assert PREVIEW.decode(PREVIEW.call_of(item)) == (act.TypeText("a"),)
    assert ComputerUsePreviewTool.model_validate(PREVIEW.declaration).display_width == 1280


def test_the_newer_tool_understands_an_item_of_the_older_one() -> None:
    item = {"type": "computer_call", "call_id": "c", "action": {"type": "type", "text": "a"}}
    assert OPENAI.decode(OPENAI.call_of(item)) == (act.TypeText("a"),)


def test_long_batches_are_several_calls() -> None:
    calls = OPENAI.encode([act.Look()] * 250)
    assert [len(json.loads(call.arguments)["actions"]) for call in calls] == [100, 100, 50]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "the arguments are"),
        ({"actions": []}, "a batch is 1 to 100 actions"),
        ({"actions": [{"type": "wait"}] * 101}, "a batch is 1 to 100 actions"),
        ({"actions": [7]}, "an action is an object"),
        ({"actions": [{"x": 1}]}, "type is missing"),
        ({"actions": [{"type": "klick"}]}, "no action 'klick'. Did you mean 'click'"),
        ({"actions": [{"type": "wait"}, {"type": "click", "x": 1}]}, "action 2 of 2: click: y is missing"),
        ({"actions": [{"type": "wait"}, {"type": "keypress", "keys": ["CRTL"]}]}, "action 2 of 2: there is no key"),
        ({"actions": [{"type": "click", "x": 1, "y": 2, "botton": "left"}]}, r"no field 'botton' \(Did you mean 'bu"),
        ({"actions": [{"type": "click", "x": "1", "y": 2}]}, "click: 'x': Input should be a valid number"),
        ({"actions": [{"type": "drag", "path": [{"x": 1, "y": 2}]}]}, "drag: 'path': List should have at least 2"),
    ],
)
def test_a_wrong_batch_tells_what_is_wrong(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(DialectError, match=said):
        OPENAI.decode(ToolCall("c", "computer", json.dumps(arguments)))
