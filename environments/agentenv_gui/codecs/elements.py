"""Function tools over the elements of the tree, by their ids: for a policy that reads, and may see no picture."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agentenv.messages import Wire
from agentenv_gui import actions as act
from agentenv_gui.actions import Action, Button, Element, Target
from agentenv_gui.codecs.contract import DialectError
from agentenv_gui.codecs.functions import COMMON, Clicking, Functions, Scrolling, Typing
from agentenv_gui.codecs.phrases import ElementId, Phrase, Said, Saying, Text, Word
from agentenv_gui.codecs.space import Space

_Id = Annotated[ElementId, Field(description="the element's id")]


class _On(Phrase):
    element: _Id


class _MaybeOn(Phrase):
    element: _Id | None = None


class _Click(Clicking, _On):
    pass


class _Type(Typing, _MaybeOn):
    pass


class _Scroll(Scrolling, _MaybeOn):
    pass


class _Choose(_On):
    option: Annotated[Text, Field(description="the text of the option")]


class _Drag(Phrase):
    start: _Id
    end: _Id


_WORDS = {
    "click": Word(_Click, "Click on an element."),
    "type": Word(_Type, "Type a text, into an element or where the focus is."),
    "choose": Word(_Choose, "Choose an option of a list that drops down."),
    "scroll": Word(_Scroll, "Scroll by pixels, in an element or where the pointer is."),
    "hover": Word(_On, "Move the pointer onto an element."),
    "drag": Word(_Drag, "Drag one element onto another."),
    **COMMON,
}


class Elements(Functions):
    """Function tools over elements. Distances are pixels of the surface, whatever the space."""

    name = "elements"
    words = _WORDS

    def __init__(self, space: Space) -> None:
        super().__init__(Space(space.surface, space.surface))

    def target(self, phrase: Phrase) -> Target | None:
        match phrase:
            case _On(element=id) | _MaybeOn(element=int(id)):
                return Element(id)
        return None

    def aim(self, target: Target | None) -> Wire:
        if target is not None and not isinstance(target, Element):
            raise DialectError(f"{self.name} aims at elements, not at places")
        return {} if target is None else {"element": target.id}

    def meant_besides(self, said: Said) -> Action:
        match said.phrase:
            case _Drag(start=start, end=end):
                return act.Drag((Element(start), Element(end)))
            case _Choose(element=id, option=option):
                return act.Choose(option, Element(id))
            case _On(element=id):
                return act.Move(Element(id))
        raise AssertionError(said)

    def say(self, action: Action) -> Saying:
        match action:
            case act.Move(to=at):
                return "hover", self.aim(at)
            case act.Drag(path=(Element(id=start), Element(id=end)), button=Button.LEFT, holding=()):
                return "drag", {"start": start, "end": end}
            case act.Choose(option=option, of=of):
                return "choose", self.aim(of) | {"option": option}
        return super().say(action)
