"""Plain function tools, one for each kind of action: what those over elements and those over places have in common.

Our own words, for policies that were taught no vendor's. Keys are the W3C's names between plus signs.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal

from pydantic import Field

from agentenv.messages import Wire
from agentenv_gui import actions as act
from agentenv_gui.actions import Action, Button, Ending, Target
from agentenv_gui.codecs.keys import Naming, chord, chord_of
from agentenv_gui.codecs.phrases import KeyText, Phrase, Said, Saying, Seconds, Text, Units, Whole, Word
from agentenv_gui.codecs.shapes import ToolEach

ButtonName = Literal["left", "middle", "right", "back", "forward"]
Held = Annotated[KeyText, Field(description="keys to hold down meanwhile, such as 'Control+Shift'")]


class Clicking(Phrase):
    button: ButtonName = "left"
    count: Annotated[Whole, Field(ge=1, le=3, description="2 for a double click")] = 1
    holding: Held | None = None


class Scrolling(Phrase):
    down: Annotated[Units, Field(description="a distance; negative is up")] = 0
    right: Annotated[Units, Field(description="a distance; negative is to the left")] = 0
    holding: Held | None = None


class Typing(Phrase):
    text: Annotated[Text, Field(description="a line break is the Enter key")]
    clear: Annotated[bool, Field(description="whether it replaces what is there")] = False


class Pressing(Phrase):
    keys: Annotated[KeyText, Field(description="such as 'Enter', 'Control+a' or 'ArrowDown'")]


class Waiting(Phrase):
    seconds: Seconds = 1


class Ended(Phrase):
    ending: Annotated[Literal["done", "impossible"], Field(description="whether the task could be done")] = "done"
    text: Annotated[Text, Field(description="the answer, where the task asks for one")] = ""


class Nothing(Phrase):
    pass


COMMON = {
    "press": Word(Pressing, "Press a key, or several together."),
    "wait": Word(Waiting, "Let time pass, in seconds."),
    "look": Word(Nothing, "Do nothing but look."),
    "done": Word(Ended, "End the task."),
}
"""Words that aim at nothing, and so are the same in both."""


class Functions(ToolEach):
    """Function tools, whatever they aim at."""

    @abstractmethod
    def target(self, phrase: Phrase) -> Target | None:
        """What a phrase aims at, if it aims at anything."""

    @abstractmethod
    def aim(self, target: Target | None) -> Wire:
        """The fields that aim. Raises `DialectError` where it cannot be aimed at."""

    @abstractmethod
    def meant_besides(self, said: Said) -> Action:
        """What was meant with a word that is not common to all function tools."""

    def meant(self, said: Said) -> tuple[Action, ...]:
        at = self.target(said.phrase)
        match said.phrase:
            case Clicking(button=button, count=count, holding=keys):
                return (act.Click(at, Button(button), count, held(keys)),)
            case Scrolling(down=down, right=right, holding=keys):
                far = self.space.to_surface(right, down)
                return (act.Scroll(far.y, far.x, at, held(keys)),)
            case Typing(text=text, clear=clear):
                return (act.TypeText(text, at, clear),)
            case Pressing(keys=keys) if said.word == "press":
                return (act.Press(chord(keys)),)
            case Waiting(seconds=seconds):
                return (act.Wait(seconds),)
            case Ended(ending=ending, text=text):
                return (act.Finish(Ending(ending), text),)
            case Nothing():
                return (act.Look(),)
        return (self.meant_besides(said),)

    def say(self, action: Action) -> Saying:
        match action:
            case act.Click(at=at, button=button, count=count, holding=keys):
                return "click", self.aim(at) | {"button": button.value, "count": count, "holding": held_text(keys)}
            case act.Scroll(down=down, right=right, at=at, holding=keys):
                far_x, far_y = self.space.from_surface(right, down)
                return "scroll", self.aim(at) | {"down": far_y, "right": far_x, "holding": held_text(keys)}
            case act.TypeText(text=text, into=at, clear=clear):
                return "type", self.aim(at) | {"text": text, "clear": clear}
            case act.Press(keys=keys):
                return "press", {"keys": chord_of(keys, Naming.W3C)}
            case act.Wait(seconds=seconds):
                return "wait", {"seconds": seconds}
            case act.Finish(ending=ending, text=text):
                return "done", {"ending": ending.value, "text": text}
            case act.Look():
                return "look", {}
        raise self.unsayable(action)


def held(keys: str | None) -> tuple[str, ...]:
    """Keys that are held down meanwhile."""
    return () if keys is None else chord(keys)


def held_text(keys: tuple[str, ...]) -> str | None:
    """The field for keys that are held down meanwhile."""
    return chord_of(keys, Naming.W3C) or None
