"""OpenAI's `computer` tool, whose calls are batches of actions, and the older `computer-use-preview` with one a call.

Source: `ComputerAction` and `ResponseComputerToolCall` of the package `openai` 3.52, and OpenAI's guide to computer use
(2026-10): `wheel` is the middle button, a wait is two seconds, and distances of a scroll are pixels, down and to the
right. The reference calls the keys of a key press a combination, the guide presses them in turn: modifiers that come
first are held down here, and what follows them is pressed in turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from agentenv.messages import ToolCall, Wire
from agentenv.tools import ToolSpec
from agentenv_gui import actions as act
from agentenv_gui.actions import Action, Button
from agentenv_gui.codecs.contract import DialectError, Native
from agentenv_gui.codecs.keys import MODIFIERS, Naming, name_of, together
from agentenv_gui.codecs.phrases import (
    LONGEST_PATH,
    MOST_ACTIONS,
    KeyText,
    Phrase,
    Said,
    Saying,
    Text,
    Units,
    Word,
    shortened,
)
from agentenv_gui.codecs.schemas import schema_of
from agentenv_gui.codecs.shapes import OneTool, arguments_of, to_json

WAIT_SECONDS = 2.0
"""What a wait lasts: there is no word for it, and the guide's handlers wait so long."""


def _as_place(value: object) -> object:
    """A place that came as a pair, which the guide's handlers understand too."""
    return {"x": value[0], "y": value[1]} if isinstance(value, list) and len(value) == 2 else value


class _Place(Phrase):
    x: Units
    y: Units


_Path = Annotated[
    list[Annotated[_Place, BeforeValidator(_as_place)]],
    Field(min_length=2, max_length=LONGEST_PATH),
    WithJsonSchema({"type": "array", "items": schema_of(_Place)}),
]
_Keys = Annotated[list[KeyText], Field(min_length=1, max_length=20)]
_Held = Annotated[list[KeyText], Field(max_length=20, description="keys to hold down meanwhile, such as SHIFT")]


class _At(_Place):
    keys: _Held | None = None


class _Click(_At):
    button: Literal["left", "right", "wheel", "back", "forward"] = "left"


class _Scroll(_At):
    scroll_x: Units = Field(description="distance to the right")
    scroll_y: Units = Field(description="distance down")


class _Drag(Phrase):
    path: _Path
    keys: _Held | None = None


class _Keypress(Phrase):
    keys: _Keys = Field(description="a combination such as CTRL, A")


class _Type(Phrase):
    text: Text


class _Nothing(Phrase):
    pass


_WORDS = {
    "click": Word(_Click, "clicks"),
    "double_click": Word(_At, "clicks twice"),
    "move": Word(_At, "moves the pointer"),
    "drag": Word(_Drag, "drags with the left button"),
    "scroll": Word(_Scroll, "turns the wheel"),
    "keypress": Word(_Keypress, "presses keys"),
    "type": Word(_Type, "types a text"),
    "wait": Word(_Nothing, "waits two seconds"),
    "screenshot": Word(_Nothing, "only looks"),
}


class OpenAIPreview(OneTool, Native):
    """One action a call, as `computer-use-preview` has it."""

    name = "openai-preview"
    about = "Controls the computer with mouse and keyboard."
    tag = "type"
    words = _WORDS

    def meant(self, said: Said) -> tuple[Action, ...]:
        match said.phrase:
            case _Click(x=x, y=y, button=button, keys=keys):
                return (act.Click(self.point(x, y), _BUTTONS[button], holding=together(keys or ())),)
            case _Scroll(x=x, y=y, scroll_x=right, scroll_y=down, keys=keys):
                far = self.space.to_surface(right, down)
                return (act.Scroll(far.y, far.x, self.point(x, y), together(keys or ())),)
            case _At(x=x, y=y, keys=keys) if said.word == "move":
                return _holding(together(keys or ()), act.Move(self.point(x, y)))
            case _At(x=x, y=y, keys=keys):
                return (act.Click(self.point(x, y), count=2, holding=together(keys or ())),)
            case _Drag(path=path, keys=keys):
                return (act.Drag(tuple(self.point(at.x, at.y) for at in path), holding=together(keys or ())),)
            case _Keypress(keys=keys):
                return _pressed(together(keys))
            case _Type(text=text):
                return (act.TypeText(text),)
        return (act.Wait(WAIT_SECONDS),) if said.word == "wait" else (act.Look(),)

    def say(self, action: Action) -> Saying:
        match action:
            case act.Move(to=at):
                return "move", self.xy(at)
            case act.Click(at=at, button=button, count=1, holding=keys):
                return "click", self.xy(at) | {"button": _BUTTON_NAMES[button], "keys": _held(keys)}
            case act.Click(at=at, button=Button.LEFT, count=2, holding=keys):
                return "double_click", self.xy(at) | {"keys": _held(keys)}
            case act.Drag(path=path, button=Button.LEFT, holding=keys):
                return "drag", {"path": [self.xy(at) for at in path], "keys": _held(keys)}
            case act.Scroll(down=down, right=right, at=at, holding=keys):
                far_x, far_y = self.space.from_surface(right, down)
                return "scroll", self.xy(at) | {"scroll_x": far_x, "scroll_y": far_y, "keys": _held(keys)}
            case act.Press(keys=keys) if _pressed(keys) == (action,):
                return "keypress", {"keys": _names(keys)}
            case act.TypeText(text=text, into=None, clear=False):
                return "type", {"text": text}
            case act.Wait(seconds=seconds) if seconds == WAIT_SECONDS:
                return "wait", {}
            case act.Look():
                return "screenshot", {}
        raise self.unsayable(action)

    @property
    def declaration(self) -> Wire:
        size = {"display_width": self.space.units.width, "display_height": self.space.units.height}
        return {"type": "computer_use_preview", "environment": "linux", **size}

    def call_of(self, item: Mapping[str, Any]) -> ToolCall:
        return ToolCall(_id_of(item), self.tool, to_json(item.get("action")))

    def item_of(self, call: ToolCall) -> Wire:
        (said,) = self.read(call)
        return _item(call, {"action": self.fields_of(said)})


class OpenAI(OpenAIPreview):
    """Batches of actions, as the `computer` tool has them."""

    name = "openai"

    def specs(self) -> tuple[ToolSpec, ...]:
        (one,) = super().specs()
        batch = {"type": "array", "description": "actions to carry out in this order", "items": one.parameters}
        fields = {"type": "object", "properties": {"actions": batch}, "required": ["actions"]}
        return (ToolSpec(one.name, one.description, fields | {"additionalProperties": False}),)

    def read(self, call: ToolCall) -> list[Said]:
        arguments = arguments_of(call, (self.tool,))
        batch = arguments.get("actions")
        if not isinstance(batch, list) or len(arguments) > 1:
            raise DialectError(f"the arguments are {{'actions': […]}}, not {shortened(arguments)}")
        if not 1 <= len(batch) <= MOST_ACTIONS:
            raise DialectError(f"a batch is 1 to {MOST_ACTIONS} actions, not {len(batch)}")
        return [self.numbered(index, len(batch), self.read_fields, fields) for index, fields in enumerate(batch)]

    def write(self, said: Sequence[Said], id: str) -> tuple[ToolCall, ...]:
        batches = [said[start : start + MOST_ACTIONS] for start in range(0, len(said), MOST_ACTIONS)]
        return tuple(
            ToolCall(f"{id}_{index}", self.tool, to_json({"actions": [self.fields_of(one) for one in batch]}))
            for index, batch in enumerate(batches)
        )

    @property
    def declaration(self) -> Wire:
        return {"type": "computer"}

    def call_of(self, item: Mapping[str, Any]) -> ToolCall:
        actions = item.get("actions") or [item.get("action")]
        return ToolCall(_id_of(item), self.tool, to_json({"actions": actions}))

    def item_of(self, call: ToolCall) -> Wire:
        return _item(call, {"actions": [self.fields_of(said) for said in self.read(call)]})


_BUTTONS = {
    "left": Button.LEFT,
    "right": Button.RIGHT,
    "wheel": Button.MIDDLE,
    "back": Button.BACK,
    "forward": Button.FORWARD,
}
_BUTTON_NAMES = {button: name for name, button in _BUTTONS.items()}


def _holding(keys: tuple[str, ...], action: Action) -> tuple[Action, ...]:
    """An action while keys are held down, where the vocabulary has no word for that."""
    return (*map(act.KeyDown, keys), action, *map(act.KeyUp, reversed(keys)))


def _pressed(keys: tuple[str, ...]) -> tuple[act.Press, ...]:
    """Modifiers that come first are held down, what follows is pressed in turn."""
    held = next((index for index, key in enumerate(keys) if key not in MODIFIERS), len(keys))
    return tuple(act.Press((*keys[:held], key)) for key in keys[held:]) or (act.Press(keys),)


def _names(keys: Sequence[str]) -> list[str]:
    return [name_of(key, Naming.OPENAI) for key in keys]


def _held(keys: tuple[str, ...]) -> list[str] | None:
    return _names(keys) or None


def _id_of(item: Mapping[str, Any]) -> str:
    if item.get("type") != "computer_call":
        raise DialectError(f"an item of the type computer_call is needed, not {shortened(item.get('type'))}")
    return str(item.get("call_id") or item.get("id") or "")


def _item(call: ToolCall, actions: Wire) -> Wire:
    frame = {"type": "computer_call", "id": f"cu_{call.id}", "call_id": call.id, "status": "completed"}
    return {**frame, "pending_safety_checks": [], **actions}
