"""OSWorld's action space `computer_13`: thirteen actions with mouse and keyboard, and wait, fail and done.

Source: `desktop_env/actions.py` and `desktop_env/controllers/python.py` of the package `desktop-env` 1.0.2 (2025-10).
As there, the parameters of an action may stand beside its type or under `parameters`, a scroll is clicks of the wheel,
up being positive, as pyautogui has it, and an environment pauses for two seconds after a wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

from pydantic import Field

from agentenv_gui import actions as act
from agentenv_gui.actions import Action, Button, Ending
from agentenv_gui.codecs.contract import DialectError
from agentenv_gui.codecs.keys import Naming, key_named, name_of, together
from agentenv_gui.codecs.phrases import KeyText, Phrase, Said, Saying, Text, Units, Whole, Word
from agentenv_gui.codecs.shapes import OneTool
from agentenv_gui.codecs.space import WHEEL_CLICK

WAIT_SECONDS = 2.0

_Clicks = Annotated[Whole, Field(ge=-1_000, le=1_000)]


class _To(Phrase):
    x: Units
    y: Units


class _Where(Phrase):
    x: Units | None = None
    y: Units | None = None


class _Button(Phrase):
    button: Literal["left", "right", "middle"] = "left"


class _Click(_Where, _Button):
    num_clicks: Annotated[Whole, Field(ge=1, le=3)] = 1


class _Scroll(Phrase):
    dx: Annotated[_Clicks, Field(description="clicks of the wheel to the right")] = 0
    dy: Annotated[_Clicks, Field(description="clicks of the wheel up")] = 0


class _Typing(Phrase):
    text: Text


class _Key(Phrase):
    key: Annotated[KeyText, Field(description="a key, such as 'enter' or 'a'")]


class _Keys(Phrase):
    keys: Annotated[list[KeyText], Field(min_length=1, max_length=10, description="such as ['ctrl', 'a']")]


class _Nothing(Phrase):
    pass


_WORDS = {
    "MOVE_TO": Word(_To, "moves the cursor"),
    "CLICK": Word(_Click, "clicks; where the cursor is without x and y"),
    "MOUSE_DOWN": Word(_Button, "presses a button and keeps it down"),
    "MOUSE_UP": Word(_Button, "lets a button go"),
    "RIGHT_CLICK": Word(_Where, "clicks with the right button"),
    "DOUBLE_CLICK": Word(_Where, "clicks twice"),
    "DRAG_TO": Word(_To, "drags with the left button from where the cursor is"),
    "SCROLL": Word(_Scroll, "turns the wheel"),
    "TYPING": Word(_Typing, "types a text"),
    "PRESS": Word(_Key, "presses a key"),
    "KEY_DOWN": Word(_Key, "presses a key and keeps it down"),
    "KEY_UP": Word(_Key, "lets a key go"),
    "HOTKEY": Word(_Keys, "presses keys together"),
    "WAIT": Word(_Nothing, "waits two seconds"),
    "FAIL": Word(_Nothing, "says that the task cannot be done"),
    "DONE": Word(_Nothing, "says that the task is done"),
}


class OSWorld(OneTool):
    """OSWorld's `computer_13`."""

    name = "osworld"
    about = "Controls the computer with mouse and keyboard."
    tag = "action_type"
    words = _WORDS

    def read_fields(self, fields: object) -> Said:
        """As any tool that is one; what stands under `parameters` is taken out of there."""
        if isinstance(fields, Mapping) and set(fields) == {self.tag, "parameters"}:
            inner = fields["parameters"]
            if not isinstance(inner, Mapping) or self.tag in inner:
                raise DialectError("parameters is an object with the fields of the action")
            fields = {self.tag: fields[self.tag], **inner}
        return super().read_fields(fields)

    def meant(self, said: Said) -> tuple[Action, ...]:
        match said.phrase:
            case _Click(x=x, y=y, button=button, num_clicks=count):
                return (act.Click(self._target(x, y), Button(button), count),)
            case _Where(x=x, y=y) if said.word == "RIGHT_CLICK":
                return (act.Click(self._target(x, y), Button.RIGHT),)
            case _Where(x=x, y=y):
                return (act.Click(self._target(x, y), count=2),)
            case _To(x=x, y=y) if said.word == "DRAG_TO":
                return act.ButtonDown(), act.Move(self.point(x, y)), act.ButtonUp()
            case _To(x=x, y=y):
                return (act.Move(self.point(x, y)),)
            case _Button(button=button) if said.word == "MOUSE_DOWN":
                return (act.ButtonDown(button=Button(button)),)
            case _Button(button=button):
                return (act.ButtonUp(button=Button(button)),)
            case _Scroll(dx=right, dy=up):
                return (act.Scroll(down=-up * WHEEL_CLICK, right=right * WHEEL_CLICK),)
            case _Typing(text=text):
                return (act.TypeText(text),)
            case _Key(key=key):
                return (_KEY_ACTIONS[said.word](key_named(key)),)
            case _Keys(keys=keys):
                return (act.Press(together(keys)),)
        return (_PLAIN[said.word],)

    def say(self, action: Action) -> Saying:
        match action:
            case act.Move(to=at):
                return "MOVE_TO", self.xy(at)
            case act.Click(at=at, button=button, count=count, holding=()):
                where = {} if at is None else self.xy(at)
                return "CLICK", where | {"button": button.value, "num_clicks": count}
            case act.ButtonDown(at=None, button=button):
                return "MOUSE_DOWN", {"button": button.value}
            case act.ButtonUp(at=None, button=button):
                return "MOUSE_UP", {"button": button.value}
            case act.Scroll(down=down, right=right, at=None, holding=()):
                return "SCROLL", {"dx": self.clicks(right), "dy": -self.clicks(down)}
            case act.TypeText(text=text, into=None, clear=False):
                return "TYPING", {"text": text}
            case act.Press(keys=(key,)):
                return "PRESS", {"key": name_of(key, Naming.PYAUTOGUI)}
            case act.Press(keys=keys):
                return "HOTKEY", {"keys": [name_of(key, Naming.PYAUTOGUI) for key in keys]}
            case act.KeyDown(key=key):
                return "KEY_DOWN", {"key": name_of(key, Naming.PYAUTOGUI)}
            case act.KeyUp(key=key):
                return "KEY_UP", {"key": name_of(key, Naming.PYAUTOGUI)}
        if action in _PLAIN_NAMES:
            return _PLAIN_NAMES[action], {}
        raise self.unsayable(action)

    def _target(self, x: float | None, y: float | None) -> act.Point | None:
        if x is None or y is None:
            if x is not None or y is not None:
                raise DialectError("x and y go together: one of them is missing")
            return None
        return self.point(x, y)


_KEY_ACTIONS: Mapping[str, Callable[[str], Action]] = {
    "PRESS": lambda key: act.Press((key,)),
    "KEY_DOWN": act.KeyDown,
    "KEY_UP": act.KeyUp,
}
_PLAIN: Mapping[str, Action] = {
    "WAIT": act.Wait(WAIT_SECONDS),
    "FAIL": act.Finish(Ending.IMPOSSIBLE),
    "DONE": act.Finish(Ending.DONE),
}
_PLAIN_NAMES = {action: name for name, action in _PLAIN.items()}
