"""The two shapes of a dialect: one tool whose calls name an action, and a tool for each action."""

from __future__ import annotations

import functools
import json
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from agentenv.arguments import NotJSONError, decode
from agentenv.errors import nearest
from agentenv.messages import ToolCall, Wire
from agentenv.tools import ToolErrorKind, ToolSpec
from agentenv_gui.actions import Action, Element, Point, Target, Zoom
from agentenv_gui.codecs.contract import Dialect, DialectError
from agentenv_gui.codecs.phrases import Placed, Said, Saying, Words, shortened, understood, wire
from agentenv_gui.codecs.schemas import schema_of, schema_of_all
from agentenv_gui.codecs.space import WHEEL_CLICK

Given = TypeVar("Given")
Made = TypeVar("Made")

LONGEST_CALL = 100_000
"""Characters of a call's arguments."""
MOST_MEANT = 1_000
"""Actions that a call can ask for: one that repeats keys asks for more than it says."""


class Wording(Dialect):
    """A dialect that has words for actions, and phrases that go with them.

    Attributes:
        words: by name.
    """

    words: Words

    @abstractmethod
    def meant(self, said: Said) -> tuple[Action, ...]:
        """The actions that were meant. Raises `DialectError` for what only looks right, such as an unknown key."""

    @abstractmethod
    def say(self, action: Action) -> Saying:
        """The words for an action. Raises `DialectError` where there are none."""

    @abstractmethod
    def specs(self) -> tuple[ToolSpec, ...]:
        """What a policy is offered, made anew."""

    @abstractmethod
    def read(self, call: ToolCall) -> list[Said]:
        """What a call says. Raises `DialectError`."""

    @abstractmethod
    def write(self, said: Sequence[Said], id: str) -> tuple[ToolCall, ...]:
        """The calls that say it."""

    @functools.cached_property
    def tools(self) -> tuple[ToolSpec, ...]:
        return self.specs()

    def decode(self, call: ToolCall) -> tuple[Action, ...]:
        read = self.read(call)
        meant = [self.numbered(index, len(read), self.meant, said) for index, said in enumerate(read)]
        actions = tuple(action for actions in meant for action in actions)
        if len(actions) > MOST_MEANT:
            raise DialectError(f"a call can mean at most {MOST_MEANT:,} actions, not {len(actions):,}")
        return actions

    def encode(self, actions: Sequence[Action], id: str = "call") -> tuple[ToolCall, ...]:
        return self.write([self._said(action) for action in actions], id)

    def _said(self, action: Action) -> Said:
        try:
            return understood(self.words, *self.say(action))
        except (ValueError, OverflowError):  # no whole number is near NaN or an infinity
            raise self.unsayable(action) from None

    @staticmethod
    def numbered(index: int, of: int, step: Callable[[Given], Made], given: Given) -> Made:
        """One step of a batch; what is wrong with it tells which one it is."""
        try:
            return step(given)
        except DialectError as problem:
            if of == 1:
                raise
            raise DialectError(f"action {index + 1} of {of}: {problem}", problem.kind) from None

    def unsayable(self, action: Action) -> DialectError:
        """What is raised for an action without words."""
        return DialectError(f"{self.name} has no words for {shortened(action)}")

    def point(self, x: float, y: float) -> Point:
        """A place on the surface, from units of the dialect."""
        return self.space.to_surface(x, y)

    def place(self, target: Target | None) -> list[int]:
        """A place in units of the dialect.

        Raises:
            DialectError: it is none, but an element, or nowhere in particular.
        """
        if not isinstance(target, Point):
            what = "an element" if isinstance(target, Element) else "where the pointer is"
            raise DialectError(f"{self.name} aims at places, not at {what}")
        return list(self.space.from_surface(target.x, target.y))

    def xy(self, target: Target | None) -> Wire:
        """A place in units of the dialect, as two fields. Raises as `place` does."""
        return dict(zip("xy", self.place(target), strict=True))

    def area(self, left: float, top: float, right: float, bottom: float) -> Zoom:
        """A part of the screen, from units of the dialect.

        Raises:
            DialectError: it is empty.
        """
        _check_extent(left, top, right, bottom)
        upper, lower = self.point(left, top), self.point(right, bottom)
        return Zoom(upper.x, upper.y, lower.x, lower.y)

    def corners(self, zoom: Zoom) -> list[int]:
        """Left, top, right and bottom in units of the dialect. Raises as `area` does."""
        corners = [*self.space.from_surface(zoom.left, zoom.top), *self.space.from_surface(zoom.right, zoom.bottom)]
        _check_extent(*corners)
        return corners

    def clicks(self, pixels: float) -> int:
        """A distance in clicks of the wheel: the nearest.

        Raises:
            DialectError: it is less than half a click.
        """
        clicks = round(pixels / WHEEL_CLICK)
        if pixels and not clicks:
            raise DialectError(f"{self.name} scrolls by clicks of {WHEEL_CLICK:g} pixels, not by {pixels:g} pixels")
        return clicks


class OneTool(Wording):
    """A dialect that is one tool; a field of each call, the tag, has the word.

    Attributes:
        tool, about: the tool's name and description. tag: the field.
    """

    tool: ClassVar[str] = "computer"
    about: ClassVar[str]
    tag: ClassVar[str]

    def specs(self) -> tuple[ToolSpec, ...]:
        about = f"{self.about} Places are in {self.space}."
        return (ToolSpec(self.tool, about, schema_of_all(self.words, self.tag)),)

    def read(self, call: ToolCall) -> list[Said]:
        return [self.read_fields(arguments_of(call, (self.tool,)))]

    def write(self, said: Sequence[Said], id: str) -> tuple[ToolCall, ...]:
        return tuple(
            ToolCall(f"{id}_{index}", self.tool, to_json(self.fields_of(one))) for index, one in enumerate(said)
        )

    def read_fields(self, fields: object) -> Said:
        """What an object with a tag says."""
        if not isinstance(fields, Mapping):
            raise DialectError(f"an action is an object, not {shortened(fields)}")
        if self.tag not in fields:
            raise DialectError(f"{self.tag} is missing: which action is it? There are {', '.join(self.words)}.")
        rest = {name: value for name, value in fields.items() if name != self.tag}
        return understood(self.words, fields[self.tag], rest)

    def fields_of(self, said: Said) -> dict[str, Any]:
        """The object with a tag that says it."""
        return {self.tag: said.word, **wire(said.phrase)}


class ToolEach(Wording):
    """A dialect that has a tool for each word."""

    def specs(self) -> tuple[ToolSpec, ...]:
        places = f" Places are in {self.space}."
        return tuple(
            ToolSpec(name, word.about + places * issubclass(word.phrase, Placed), schema_of(word.phrase))
            for name, word in self.words.items()
        )

    def read(self, call: ToolCall) -> list[Said]:
        return [understood(self.words, call.name, arguments_of(call, self.words))]

    def write(self, said: Sequence[Said], id: str) -> tuple[ToolCall, ...]:
        return tuple(ToolCall(f"{id}_{index}", one.word, to_json(wire(one.phrase))) for index, one in enumerate(said))


def _check_extent(left: float, top: float, right: float, bottom: float) -> None:
    if left >= right or top >= bottom:
        raise DialectError(f"the area from {left:g}, {top:g} to {right:g}, {bottom:g} is empty")


def arguments_of(call: ToolCall, tools: Sequence[str] | Words) -> Mapping[str, Any]:
    """The arguments of a call to one of the tools.

    Raises:
        DialectError: it is to another, or they are no object in JSON, or too long to be looked at.
    """
    if call.name not in tools:
        hint = nearest(call.name[:100], tools) or f" The tools are: {', '.join(tools)}."
        raise DialectError(f"there is no tool {shortened(call.name)}.{hint}", ToolErrorKind.UNKNOWN_TOOL)
    if len(call.arguments) > LONGEST_CALL:
        raise DialectError(f"the arguments are {len(call.arguments):,} characters long, at most {LONGEST_CALL:,}")
    try:
        arguments, _ = decode(call.arguments)
    except NotJSONError as problem:
        raise DialectError(str(problem), ToolErrorKind.INVALID_JSON) from None
    if not isinstance(arguments, dict):
        raise DialectError(f"the arguments are an object, not {shortened(arguments)}")
    return arguments


def to_json(value: object) -> str:
    """JSON as a call's arguments have it."""
    return json.dumps(value, ensure_ascii=False)
