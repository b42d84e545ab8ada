"""What there is to see of a graphical surface: its screen, its tree, and what went wrong."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height, in pixels."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on the surface, in its pixels."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Screenshot:
    """A picture of the surface.

    Attributes:
        png: the file. size: of the picture. scale: pixels of the picture for one of the surface.
        zoomed: the part of the surface that is shown, where it is not the whole.
    """

    png: bytes = field(repr=False)
    size: Size
    scale: float = 1.0
    zoomed: Box | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """Something in the tree: a button, a field, a text.

    Attributes:
        id: by which an action aims at it; of no meaning once the tree was looked at again.
        role: as in WAI-ARIA, such as "button"; "text" for a text. name: what it is called.
        value: what stands in it, of those that can hold something.
        states: such as "checked", "focused", "disabled", in alphabetical order.
        box: where it is; `None` where it is not shown.
        depth: how deep in the tree it lies, 0 at the top.
        attributes: whatever else a surface tells, such as "tag" or "class".
    """

    id: int
    role: str
    name: str = ""
    value: str | None = None
    states: tuple[str, ...] = ()
    box: Box | None = None
    depth: int = 0
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Tree:
    """The nodes of a surface in the order of reading, parents before their children.

    `focused` is the id of the node that has the focus of the keyboard.
    """

    nodes: tuple[Node, ...] = ()
    focused: int | None = None

    def node(self, id: int) -> Node | None:
        """The node of this id, if there is one."""
        return next((node for node in self.nodes if node.id == id), None)


@dataclass(frozen=True, slots=True)
class Wants:
    """What an observation consists of; each can be left out.

    Attributes:
        screenshot: a picture. marks: with the ids of the tree's nodes drawn into it (set-of-marks).
        tree: the accessibility tree. focus: which element has the keyboard. error: what went wrong last.
    """

    screenshot: bool = True
    marks: bool = False
    tree: bool = True
    focus: bool = True
    error: bool = True


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen at one moment.

    Attributes:
        screenshot, tree: as far as they were wanted. pointer: where the mouse is, in pixels.
        title, address: of what is on top, such as a page's; empty where a surface has none.
        notices: what happened by itself since the last look: a dialog that was answered, a window that was closed, …
    """

    screenshot: Screenshot | None = None
    tree: Tree | None = None
    pointer: tuple[float, float] | None = None
    title: str = ""
    address: str = ""
    notices: tuple[str, ...] = ()
