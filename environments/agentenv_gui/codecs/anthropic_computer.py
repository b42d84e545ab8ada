"""Anthropic's tool `computer_20251124`, and the words that the newer toolset shares with it.

Source: `BetaToolComputerUse20251124` and the members' inputs of the package `anthropic` 2.11, Anthropic's page on the
computer use tool, and its reference implementation in `claude-quickstarts` (2026-10). Keys are xdotool's, a scroll is
clicks of the wheel, and where the cursor is is seen after every action, so asking for it only looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from agentenv.messages import ToolCall, Wire
from agentenv_gui import actions as act
from agentenv_gui.actions import Action, Button, Point, Target
from agentenv_gui.codecs.contract import DialectError, Native
from agentenv_gui.codecs.keys import Naming, chord, chord_of, chords
from agentenv_gui.codecs.phrases import (
    KeyText,
    Pair,
    Phrase,
    Placed,
    Said,
    Saying,
    Seconds,
    Text,
    Units,
    Whole,
    Word,
    shortened,
)
from agentenv_gui.codecs.shapes import OneTool, Wording, to_json
from agentenv_gui.codecs.space import WHEEL_CLICK

_CLICKS = {
    "left_click": (Button.LEFT, 1),
    "right_click": (Button.RIGHT, 1),
    "middle_click": (Button.MIDDLE, 1),
    "double_click": (Button.LEFT, 2),
    "triple_click": (Button.LEFT, 3),
}
_CLICK_NAMES = {click: name for name, click in _CLICKS.items()}
_WAYS = {"down": (1, 0), "up": (-1, 0), "right": (0, 1), "left": (0, -1)}
"""Directions of a scroll, as clicks down and to the right."""
_DIRECTIONS = {(bool(right), down + right < 0): way for way, (down, right) in _WAYS.items()}
"""By whether it is sideways, and whether it is backwards."""

_Coordinate = Annotated[Pair, Field(description="[x, y]")]
_Held = Annotated[KeyText, Field(description="keys to hold down meanwhile, such as 'ctrl+shift'")]
_Chord = Annotated[KeyText, Field(description="a key or a combination, such as 'Return' or 'ctrl+s'")]

_Seconds = Annotated[Seconds, Field(description="seconds")]


class _Click(Placed):
    coordinate: _Coordinate | None = None
    text: _Held | None = None


class _Move(Placed):
    coordinate: _Coordinate


class _Drag(Placed):
    start_coordinate: _Coordinate
    coordinate: _Coordinate
    text: _Held | None = None


class _Scroll(Placed):
    scroll_direction: Literal["up", "down", "left", "right"]
    scroll_amount: Annotated[Whole, Field(ge=0, le=1_000, description="clicks of the wheel")]
    coordinate: _Coordinate | None = None
    text: _Held | None = None


class _Type(Phrase):
    text: Annotated[Text, Field(description="the text to type")]


class Key(Phrase):
    text: _Chord


class Hold(Phrase):
    text: _Chord
    duration: _Seconds


class Wait(Phrase):
    duration: _Seconds


class _Zoom(Placed):
    region: Annotated[list[Units], Field(min_length=4, max_length=4, description="[x0, y0, x1, y1]")]


class _Nothing(Phrase):
    pass


WORDS = {
    "left_click": Word(_Click, "Clicks with the left button; where the cursor is without a coordinate."),
    "right_click": Word(_Click, "Clicks with the right button."),
    "middle_click": Word(_Click, "Clicks with the middle button."),
    "double_click": Word(_Click, "Clicks twice with the left button."),
    "triple_click": Word(_Click, "Clicks three times with the left button."),
    "mouse_move": Word(_Move, "Moves the cursor."),
    "left_click_drag": Word(_Drag, "Drags with the left button."),
    "left_mouse_down": Word(_Nothing, "Presses the left button and keeps it down."),
    "left_mouse_up": Word(_Nothing, "Lets the left button go."),
    "scroll": Word(_Scroll, "Turns the wheel."),
    "type": Word(_Type, "Types a text."),
    "key": Word(Key, "Presses a key or a combination of keys."),
    "hold_key": Word(Hold, "Holds keys down for a while."),
    "wait": Word(Wait, "Waits."),
    "screenshot": Word(_Nothing, "Only looks at the screen."),
    "cursor_position": Word(_Nothing, "Only looks where the cursor is."),
    "zoom": Word(_Zoom, "Looks at a part of the screen in full resolution."),
}


class ComputerWording(Wording):
    """What the tool and the toolset have in common."""

    words = WORDS

    def meant(self, said: Said) -> tuple[Action, ...]:
        match said.phrase:
            case _Click(coordinate=at, text=keys):
                button, count = _CLICKS[said.word]
                return (act.Click(self._target(at), button, count, _held(keys)),)
            case _Move(coordinate=(x, y)):
                return (act.Move(self.point(x, y)),)
            case _Drag(start_coordinate=start, coordinate=end, text=keys):
                return (act.Drag((self.point(*start), self.point(*end)), holding=_held(keys)),)
            case _Scroll(scroll_direction=way, scroll_amount=amount, coordinate=at, text=keys):
                down, right = (amount * step * WHEEL_CLICK for step in _WAYS[way])
                return (act.Scroll(down, right, self._target(at), _held(keys)),)
            case _Type(text=text):
                return (act.TypeText(text),)
            case Hold(text=keys, duration=seconds):
                return (act.Hold(chord(keys), seconds),)
            case Key(text=keys):
                return _pressed(keys)
            case Wait(duration=seconds):
                return (act.Wait(seconds),)
            case _Zoom(region=(left, top, right, bottom)):
                return (self.area(left, top, right, bottom),)
        return (_PLAIN.get(said.word, act.Look()),)

    def say(self, action: Action) -> Saying:
        match action:
            case act.Click(at=at, button=button, count=count, holding=keys) if (button, count) in _CLICK_NAMES:
                return _CLICK_NAMES[button, count], {"coordinate": self._coordinate(at), "text": _chord(keys)}
            case act.Move(to=at):
                return "mouse_move", {"coordinate": self.place(at)}
            case act.Drag(path=(start, end), button=Button.LEFT, holding=keys):
                path = {"start_coordinate": self.place(start), "coordinate": self.place(end)}
                return "left_click_drag", path | {"text": _chord(keys)}
            case act.ButtonDown(at=None, button=Button.LEFT):
                return "left_mouse_down", {}
            case act.ButtonUp(at=None, button=Button.LEFT):
                return "left_mouse_up", {}
            case act.Scroll(down=down, right=right, at=at, holding=keys) if not (down and right):
                clicks = self.clicks(down or right)
                way = _DIRECTIONS[bool(right), clicks < 0]
                amount = {"scroll_direction": way, "scroll_amount": abs(clicks)}
                return "scroll", amount | {"coordinate": self._coordinate(at), "text": _chord(keys)}
            case act.TypeText(text=text, into=None, clear=False):
                return "type", {"text": text}
            case act.Press(keys=keys):
                return "key", {"text": _chord(keys)}
            case act.Hold(keys=keys, seconds=seconds):
                return "hold_key", {"text": _chord(keys), "duration": seconds}
            case act.Wait(seconds=seconds):
                return "wait", {"duration": seconds}
            case act.Look():
                return "screenshot", {}
            case act.Zoom():
                return "zoom", {"region": self.corners(action)}
        raise self.unsayable(action)

    def _target(self, coordinate: list[float] | None) -> Point | None:
        return None if coordinate is None else self.point(*coordinate)

    def _coordinate(self, at: Target | None) -> list[int] | None:
        return None if at is None else self.place(at)


class AnthropicComputer(OneTool, ComputerWording, Native):
    """The tool `computer_20251124`."""

    name = "anthropic"
    about = "Controls the computer with mouse and keyboard."
    tag = "action"

    @property
    def declaration(self) -> Wire:
        size = {"display_width_px": self.space.units.width, "display_height_px": self.space.units.height}
        return {"type": "computer_20251124", "name": self.tool, "enable_zoom": True, **size}

    def call_of(self, item: Mapping[str, Any]) -> ToolCall:
        return call_of_block(item)

    def item_of(self, call: ToolCall) -> Wire:
        (said,) = self.read(call)
        return {"type": "tool_use", "id": call.id, "name": self.tool, "input": self.fields_of(said)}


_PLAIN: Mapping[str, Action] = {"left_mouse_down": act.ButtonDown(), "left_mouse_up": act.ButtonUp()}


def _held(keys: str | None) -> tuple[str, ...]:
    return () if keys is None else chord(keys)


def _chord(keys: tuple[str, ...]) -> str | None:
    return chord_of(keys, Naming.XDOTOOL) or None


def _pressed(keys: str) -> tuple[Action, ...]:
    return tuple(map(act.Press, chords(keys)))


def call_of_block(block: Mapping[str, Any]) -> ToolCall:
    """The call that a block of the type `tool_use` is. Raises `DialectError` for another."""
    if block.get("type") != "tool_use" or not isinstance(block.get("name"), str):
        raise DialectError(f"a block of the type tool_use is needed, not {shortened(block.get('type'))}")
    return ToolCall(str(block.get("id") or ""), block["name"], to_json(block.get("input")))
