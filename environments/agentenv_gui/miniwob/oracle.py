"""What an oracle in the page has found to do next, in the words of the actions.

Its places are aimed at as elements of the tree where the dialect knows elements and the tree has one there, and as
points otherwise: an oracle plays in either kind of dialect, as far as its task can be done in it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from agentenv.errors import UnsupportedError
from agentenv.messages import Message, assistant
from agentenv_gui import actions as act
from agentenv_gui.actions import Action, Element, Point, Target
from agentenv_gui.codecs import Dialect, DialectError
from agentenv_gui.seen import Box, Tree

Step: TypeAlias = Mapping[str, Any]
"""What `oracles/words.js` says of one action."""

_NEAR = 1.0
"""Pixels by which an element's box may differ from what the page says."""


def message_of(step: Step, tree: Tree | None, spoken: Dialect, id: str) -> Message:
    """The message that asks for a step.

    Args:
        tree: that the policy has seen. id: how the ids of the calls begin.

    Raises:
        UnsupportedError: the dialect has no words for it.
    """
    for actions in _ways(step, tree):
        try:
            return assistant(None, *spoken.encode(actions, id))
        except DialectError:
            continue
    raise UnsupportedError(f"the dialect {spoken.name!r} has no words for what the oracle would do: {dict(step)}")


def _ways(step: Step, tree: Tree | None) -> Iterator[tuple[Action, ...]]:
    """The ways of doing it, the one that a reader of the tree would choose first."""
    if tree is not None:
        with contextlib.suppress(_NoElement):
            yield (_action(step, lambda spot: _element(spot, tree)),)
    if step["do"] != "choose":
        yield (_action(step, _point),)
        return
    moved = int(step["steps"])  # a list that dropped down is gone through by keys
    arrow = act.Press(("ArrowDown" if moved > 0 else "ArrowUp",))
    yield (act.Click(_point(step["of"])), *[arrow] * abs(moved), act.Press(("Enter",)))


def actions_of(step: Step) -> tuple[Action, ...]:
    """The actions that a step is, with places for targets."""
    return next(_ways(step, None))


class _NoElement(Exception):
    """No node of the tree lies there."""


def _point(spot: Mapping[str, Any]) -> Target:
    return Point(float(spot["x"]), float(spot["y"]))


def _element(spot: Mapping[str, Any], tree: Tree) -> Target:
    """The deepest node that is seen where the spot is, or else the largest of those that lie inside of it."""
    if spot["box"] is None:
        raise _NoElement
    wanted = _corners(Box(**spot["box"]))
    seen = [(node.id, _corners(node.box)) for node in reversed(tree.nodes) if node.box is not None]
    for id, corners in seen:
        if all(abs(one - other) <= _NEAR for one, other in zip(corners, wanted, strict=True)):
            return Element(id)
    within = [
        ((right - left) * (bottom - top), id)
        for id, (left, top, right, bottom) in seen
        if left >= wanted[0] - _NEAR
        and top >= wanted[1] - _NEAR
        and right <= wanted[2] + _NEAR
        and bottom <= wanted[3] + _NEAR
    ]
    if not within:
        raise _NoElement
    return Element(max(within)[1])


def _corners(box: Box) -> tuple[float, float, float, float]:
    return box.left, box.top, box.left + box.width, box.top + box.height


def _action(step: Step, target: Any) -> Action:
    at = target(step["at"]) if step.get("at") else None
    match step["do"]:
        case "click":
            return act.Click(at, count=step.get("count", 1), holding=tuple(step.get("holding", ())))
        case "type":
            return act.TypeText(step["text"], at, bool(step.get("clear")))
        case "choose":
            of = target(step["of"])
            if not isinstance(of, Element):
                raise _NoElement
            return act.Choose(step["option"], of)
        case "press":
            return act.Press(tuple(step["keys"]))
        case "drag":
            path = step["path"] if target is _point else step.get("between") or step["path"]
            return act.Drag(tuple(target(spot) for spot in path))
        case "move" if at is not None:
            return act.Move(at)
        case "down":
            return act.ButtonDown(at)
        case "up":
            return act.ButtonUp(at)
        case "scroll":
            return act.Scroll(down=float(step["down"]), at=at)
        case "wait":
            return act.Wait(float(step["seconds"]))
    raise AssertionError(step)
