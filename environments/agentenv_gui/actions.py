"""What a policy can do to a graphical surface: one vocabulary for browsers and desktops, and for every dialect.

Coordinates are pixels of the surface, from its upper left corner; a dialect with other units converts them
(`codecs.space`). Keys have the names of the W3C's `KeyboardEvent.key`: "Enter", "ArrowLeft", "Control", "a", " ".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Point:
    """A place on the surface, in pixels."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Element:
    """Something of the tree that was seen last, by the id it had there (`seen.Node.id`)."""

    id: int


Target: TypeAlias = Point | Element
"""Where an action goes. An element is aimed at in its middle, and brought into view for that where need be."""


class Button(StrEnum):
    """A button of the mouse."""

    LEFT = "left"
    MIDDLE = "middle"
    RIGHT = "right"
    BACK = "back"
    FORWARD = "forward"


@dataclass(frozen=True, slots=True)
class Move:
    """Moves the pointer."""

    to: Target


@dataclass(frozen=True, slots=True)
class Click:
    """Presses a button and lets it go, `count` times in a row; where the pointer is if there is no target.

    `holding` are keys that are held down meanwhile.
    """

    at: Target | None = None
    button: Button = Button.LEFT
    count: int = 1
    holding: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ButtonDown:
    """Presses a button and keeps it down."""

    at: Target | None = None
    button: Button = Button.LEFT


@dataclass(frozen=True, slots=True)
class ButtonUp:
    """Lets a button go."""

    at: Target | None = None
    button: Button = Button.LEFT


@dataclass(frozen=True, slots=True)
class Drag:
    """Moves to the first place of a path, and through the others with the button down. At least two places."""

    path: tuple[Target, ...]
    button: Button = Button.LEFT
    holding: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scroll:
    """Turns the wheel: what is further down (`down`) or to the right (`right`) comes into view, in pixels."""

    down: float = 0.0
    right: float = 0.0
    at: Target | None = None
    holding: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TypeText:
    """Types a text; into an element if there is one, which is then clicked first. A line break is the Enter key."""

    text: str
    into: Target | None = None
    clear: bool = False
    """Whether what is there already is replaced."""


@dataclass(frozen=True, slots=True)
class Press:
    """Presses keys together, the last one last, and lets them go: `Press(("Control", "a"))`."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeyDown:
    """Presses a key and keeps it down."""

    key: str


@dataclass(frozen=True, slots=True)
class KeyUp:
    """Lets a key go."""

    key: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Holds keys down for a while, in seconds of the surface's own clock."""

    keys: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Choose:
    """Chooses an option of a list that drops down, by the text that is shown."""

    option: str
    of: Element


@dataclass(frozen=True, slots=True)
class Wait:
    """Lets the surface's own clock run on, in seconds."""

    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Look:
    """Does nothing: what there is to see is seen after every action."""


@dataclass(frozen=True, slots=True)
class Zoom:
    """Asks for a part of the screen at its full resolution."""

    left: float
    top: float
    right: float
    bottom: float


class Ending(StrEnum):
    """What a policy says of the task when it ends the episode."""

    DONE = "done"
    IMPOSSIBLE = "impossible"


@dataclass(frozen=True, slots=True)
class Finish:
    """Ends the episode."""

    ending: Ending = Ending.DONE
    text: str = ""


Action: TypeAlias = (
    Move
    | Click
    | ButtonDown
    | ButtonUp
    | Drag
    | Scroll
    | TypeText
    | Press
    | KeyDown
    | KeyUp
    | Hold
    | Choose
    | Wait
    | Look
    | Zoom
    | Finish
)
