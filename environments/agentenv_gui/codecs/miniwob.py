"""The actions of MiniWoB++: `ActionTypes`, with the fields of its action space.

Source: `miniwob/action.py`, `selenium_actions.py` and `constants.py` of the package `miniwob` 1.1.0 (2026-08). Places
are pixels of the page; `ref` is the id of an element; a key is written as there, "C-a" or "<Enter>"; a scroll is fifty
pixels; a field is one of the values that the task's instruction names, of which the environment tells the dialect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

from pydantic import Field

from agentenv_gui import actions as act
from agentenv_gui.actions import Action, Button, Element, Point
from agentenv_gui.codecs.contract import DialectError
from agentenv_gui.codecs.keys import Naming, name_of, together
from agentenv_gui.codecs.phrases import ElementId, KeyText, Pair, Phrase, Said, Saying, Text, Whole, Word
from agentenv_gui.codecs.shapes import OneTool
from agentenv_gui.codecs.space import Space

SCROLL_PIXELS = 50.0
"""What a scroll is by default there."""


class _At(Phrase):
    coords: Annotated[Pair, Field(description="[x, y]")]


class _Element(Phrase):
    ref: Annotated[ElementId, Field(description="the element's id")]


class _Key(Phrase):
    key: Annotated[KeyText, Field(description="a key such as 'a', '<Enter>' or 'C-a', with C- S- A- or M- held")]


class _Text(Phrase):
    text: Annotated[Text, Field(description="the text to type")]


class _Field(Phrase):
    field: Annotated[Whole, Field(ge=0, description="the number of a value from the instruction, from 0")]


class _ElementText(_Element, _Text):
    pass


class _ElementField(_Element, _Field):
    pass


class _Nothing(Phrase):
    pass


_WORDS = {
    "NONE": Word(_Nothing, "only looks"),
    "MOVE_COORDS": Word(_At, "moves the pointer"),
    "CLICK_COORDS": Word(_At, "clicks at a place"),
    "DBLCLICK_COORDS": Word(_At, "clicks twice at a place"),
    "MOUSEDOWN_COORDS": Word(_At, "begins to drag"),
    "MOUSEUP_COORDS": Word(_At, "ends the drag"),
    "SCROLL_UP_COORDS": Word(_At, "scrolls up"),
    "SCROLL_DOWN_COORDS": Word(_At, "scrolls down"),
    "CLICK_ELEMENT": Word(_Element, "clicks on an element"),
    "PRESS_KEY": Word(_Key, "presses a key or a combination"),
    "TYPE_TEXT": Word(_Text, "types a text"),
    "TYPE_FIELD": Word(_Field, "types a value from the instruction"),
    "FOCUS_ELEMENT_AND_TYPE_TEXT": Word(_ElementText, "clicks on an element and types a text"),
    "FOCUS_ELEMENT_AND_TYPE_FIELD": Word(_ElementField, "clicks on an element and types such a value"),
}


class MiniWoB(OneTool):
    """The actions of MiniWoB++.

    Args:
        fields: the values that a task's instruction names, in MiniWoB's order, for TYPE_FIELD; without any, the words
            for them are not offered.
    """

    name = "miniwob"
    tool = "act"
    about = "Acts upon the web page."
    tag = "action_type"
    words = _WORDS

    def __init__(self, space: Space, fields: Sequence[str] = ()) -> None:
        super().__init__(space)
        self._fields = tuple(fields)
        if not fields:
            self.words = {name: word for name, word in self.words.items() if not issubclass(word.phrase, _Field)}

    def meant(self, said: Said) -> tuple[Action, ...]:
        match said.phrase:
            case _At(coords=(x, y)):
                return (_AT_PLACE[said.word](self.point(x, y)),)
            case _ElementText(ref=ref, text=text):
                return (act.TypeText(text, Element(ref)),)
            case _ElementField(ref=ref, field=field):
                return (act.TypeText(self._value(field), Element(ref)),)
            case _Element(ref=ref):
                return (act.Click(Element(ref)),)
            case _Key(key=key):
                return (act.Press(_keys_of(key)),)
            case _Text(text=text):
                return (act.TypeText(text),)
            case _Field(field=field):
                return (act.TypeText(self._value(field)),)
        return (act.Look(),)

    def say(self, action: Action) -> Saying:
        match action:
            case act.Look():
                return "NONE", {}
            case act.Click(at=Element(id=ref), button=Button.LEFT, count=1, holding=()):
                return "CLICK_ELEMENT", {"ref": ref}
            case act.Press(keys=keys):
                return "PRESS_KEY", {"key": _key_of(keys)}
            case act.TypeText(text=text, into=None, clear=False):
                return "TYPE_TEXT", {"text": text}
            case act.TypeText(text=text, into=Element(id=ref), clear=False):
                return "FOCUS_ELEMENT_AND_TYPE_TEXT", {"ref": ref, "text": text}
            case (
                act.Move(to=Point() as at)
                | act.Click(at=Point() as at)
                | act.ButtonDown(at=Point() as at)
                | act.ButtonUp(at=Point() as at)
                | act.Scroll(at=Point() as at)
            ):
                for word, made in _AT_PLACE.items():
                    if made(at) == action:
                        return word, {"coords": self.place(at)}
        raise self.unsayable(action)

    def _value(self, field: int) -> str:
        if field >= len(self._fields):
            raise DialectError(f"the instruction has no field {field}: there are {len(self._fields)}")
        return self._fields[field]


_AT_PLACE: Mapping[str, Callable[[Point], Action]] = {
    "MOVE_COORDS": act.Move,
    "CLICK_COORDS": act.Click,
    "DBLCLICK_COORDS": lambda at: act.Click(at, count=2),
    "MOUSEDOWN_COORDS": act.ButtonDown,
    "MOUSEUP_COORDS": act.ButtonUp,
    "SCROLL_UP_COORDS": lambda at: act.Scroll(down=-SCROLL_PIXELS, at=at),
    "SCROLL_DOWN_COORDS": lambda at: act.Scroll(down=SCROLL_PIXELS, at=at),
}
_PREFIXES = {"C-": "Control", "S-": "Shift", "A-": "Alt", "M-": "Meta"}
_PREFIX_OF = {key: prefix for prefix, key in _PREFIXES.items()}


def _keys_of(text: str) -> tuple[str, ...]:
    """The keys of "C-a" or "<Enter>"."""
    held = []
    while text[:2] in _PREFIXES and len(text) > 2:
        held.append(_PREFIXES[text[:2]])
        text = text[2:]
    return together([*held, text])


def _key_of(keys: tuple[str, ...]) -> str:
    """Keys as "C-a" or "<Enter>".

    Raises:
        DialectError: they are no key with modifiers before it.
    """
    if not keys or any(key not in _PREFIX_OF for key in keys[:-1]):
        raise DialectError(f"miniwob presses one key, with Control, Shift, Alt or Meta held before it, not {keys}")
    return "".join(_PREFIX_OF[key] for key in keys[:-1]) + name_of(keys[-1], Naming.MINIWOB)
