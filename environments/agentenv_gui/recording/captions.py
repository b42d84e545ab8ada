"""What an action is called under a picture, and where on the screen it takes place."""

from __future__ import annotations

from dataclasses import fields

from agentenv_gui.actions import (
    Action,
    Choose,
    Click,
    Drag,
    Element,
    Finish,
    Hold,
    KeyDown,
    KeyUp,
    Point,
    Press,
    Scroll,
    Target,
    TypeText,
    Wait,
)
from agentenv_gui.seen import Tree
from agentenv_gui.wire import action_name

_COUNTS = {1: "click", 2: "double click", 3: "triple click"}
MOST_CHARACTERS = 60
"""Of a text that was typed."""


def caption(action: Action, tree: Tree | None) -> str:
    """An action in words.

    >>> caption(Press(("Control", "a")), None)
    'press Control+a'
    """
    where = [_aim(target, tree) for target in targets(action)]
    at = f" {' → '.join(where)}" if where else ""
    match action:
        case Click():
            button = "" if action.button == "left" else f"{action.button} "
            said = f"{button}{_COUNTS.get(action.count, f'{action.count} clicks')}{at}"
        case TypeText():
            said = f"type {_short(action.text)}{at and ' into' + at}"
        case Press() | Hold():
            held = f" for {action.seconds:g} s" if isinstance(action, Hold) else ""
            said = f"{'hold' if held else 'press'} {'+'.join(action.keys)}{held}"
        case KeyDown() | KeyUp():
            said = f"{action_name(action).replace('_', ' ')} {action.key}"
        case Scroll():
            said = f"scroll {action.down:+g} down, {action.right:+g} right{at}"
        case Choose():
            said = f"choose {_short(action.option)} of{at}"
        case Wait():
            said = f"wait {action.seconds:g} s"
        case Finish():
            said = f"finish: {action.ending}{' ' + _short(action.text) if action.text else ''}"
        case _:
            said = f"{action_name(action).replace('_', ' ')}{at}"
    return said


def targets(action: Action) -> tuple[Target, ...]:
    """Everything an action aims at, in its order."""
    if isinstance(action, Drag):
        return action.path
    values = (getattr(action, field.name) for field in fields(action))
    return tuple(value for value in values if isinstance(value, Point | Element))


def places(action: Action, tree: Tree | None) -> tuple[Point, ...]:
    """Where its targets are, as far as that is known: elements are looked up in the tree that was seen before."""
    return tuple(place for target in targets(action) if (place := _place(target, tree)) is not None)


def _place(target: Target, tree: Tree | None) -> Point | None:
    if isinstance(target, Point):
        return target
    node = None if tree is None else tree.node(target.id)
    if node is None or node.box is None:
        return None
    box = node.box
    return Point(box.left + box.width / 2, box.top + box.height / 2)


def _aim(target: Target, tree: Tree | None) -> str:
    if isinstance(target, Point):
        return f"({target.x:g}, {target.y:g})"
    node = None if tree is None else tree.node(target.id)
    return (
        f"[{target.id}]" if node is None else f"[{target.id}] {node.role}{' ' + _short(node.name) if node.name else ''}"
    )


def _short(text: str) -> str:
    shown = text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"
    return f"“{shown}”"
