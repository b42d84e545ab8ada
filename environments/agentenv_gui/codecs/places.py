"""Function tools over places on the screen: for a policy that sees, and may have no tree."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agentenv.messages import Wire
from agentenv_gui import actions as act
from agentenv_gui.actions import Action, Button, Target
from agentenv_gui.codecs.functions import (
    COMMON,
    ButtonName,
    Clicking,
    Functions,
    Held,
    Pressing,
    Scrolling,
    Typing,
    held,
    held_text,
)
from agentenv_gui.codecs.keys import Naming, chord, chord_of, key_named, name_of
from agentenv_gui.codecs.phrases import LONGEST_PATH, KeyText, Pair, Phrase, Placed, Said, Saying, Seconds, Units, Word


class _At(Placed):
    at: Annotated[Pair, Field(description="[x, y]")]


class _MaybeAt(Placed):
    at: Annotated[Pair | None, Field(description="[x, y]; by default where the pointer is")] = None


class _Click(Clicking, _MaybeAt):
    pass


class _Button(_MaybeAt):
    button: ButtonName = "left"


class _Type(Typing, Placed):
    at: Annotated[Pair | None, Field(description="[x, y] to click at first; by default where the focus is")] = None


class _Scroll(Scrolling, _MaybeAt):
    pass


class _Drag(Placed):
    path: Annotated[list[Pair], Field(min_length=2, max_length=LONGEST_PATH, description="such as [[1, 1], [9, 1]]")]
    button: ButtonName = "left"
    holding: Held | None = None


class _Key(Phrase):
    key: Annotated[KeyText, Field(description="such as 'Shift' or 'a'")]


class _Hold(Pressing):
    seconds: Seconds


class _Zoom(Placed):
    area: Annotated[list[Units], Field(min_length=4, max_length=4, description="[left, top, right, bottom]")]


_WORDS = {
    "click": Word(_Click, "Click."),
    "type": Word(_Type, "Type a text."),
    "scroll": Word(_Scroll, "Scroll, by distances in the units of places."),
    "move": Word(_At, "Move the pointer."),
    "drag": Word(_Drag, "Drag from the first place through the others."),
    "button_down": Word(_Button, "Press a button of the mouse and keep it down."),
    "button_up": Word(_Button, "Let a button of the mouse go."),
    "key_down": Word(_Key, "Press a key and keep it down."),
    "key_up": Word(_Key, "Let a key go."),
    "hold": Word(_Hold, "Hold keys down for some seconds."),
    "zoom": Word(_Zoom, "See a part of the screen in full resolution."),
    **COMMON,
}


class Places(Functions):
    """Function tools over places."""

    name = "places"
    words = _WORDS

    def target(self, phrase: Phrase) -> Target | None:
        at = getattr(phrase, "at", None)
        return None if at is None else self.point(*at)

    def aim(self, target: Target | None) -> Wire:
        return {} if target is None else {"at": self.place(target)}

    def meant_besides(self, said: Said) -> Action:
        match said.phrase:
            case _At(at=(x, y)):
                return act.Move(self.point(x, y))
            case _Button(button=button):
                made = act.ButtonDown if said.word == "button_down" else act.ButtonUp
                return made(self.target(said.phrase), Button(button))
            case _Drag(path=path, button=button, holding=keys):
                return act.Drag(tuple(self.point(x, y) for x, y in path), Button(button), held(keys))
            case _Key(key=key):
                return act.KeyDown(key_named(key)) if said.word == "key_down" else act.KeyUp(key_named(key))
            case _Hold(keys=keys, seconds=seconds):
                return act.Hold(chord(keys), seconds)
            case _Zoom(area=(left, top, right, bottom)):
                return self.area(left, top, right, bottom)
        raise AssertionError(said)

    def say(self, action: Action) -> Saying:
        match action:
            case act.Move(to=at):
                return "move", {"at": self.place(at)}
            case act.ButtonDown(at=at, button=button):
                return "button_down", self.aim(at) | {"button": button.value}
            case act.ButtonUp(at=at, button=button):
                return "button_up", self.aim(at) | {"button": button.value}
            case act.Drag(path=path, button=button, holding=keys):
                way = [self.place(at) for at in path]
                return "drag", {"path": way, "button": button.value, "holding": held_text(keys)}
            case act.KeyDown(key=key):
                return "key_down", {"key": name_of(key, Naming.W3C)}
            case act.KeyUp(key=key):
                return "key_up", {"key": name_of(key, Naming.W3C)}
            case act.Hold(keys=keys, seconds=seconds):
                return "hold", {"keys": chord_of(keys, Naming.W3C), "seconds": seconds}
            case act.Zoom():
                return "zoom", {"area": self.corners(action)}
        return super().say(action)
