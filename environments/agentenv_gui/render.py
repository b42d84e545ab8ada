"""What is seen, as a policy reads it: the tree as compact lines, with ids to aim at; a picture where one is wanted.

[3] textbox "Username" = "kenda" focused
[4] button "Login"
[5] text "Forgot it?"
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping

from agentenv.messages import Part
from agentenv_gui.seen import Node, Screenshot, Seen, Tree, Wants

LONGEST_TEXT = 2_000
"""Characters of a name or a value that are shown."""
MOST_NODES = 1_000

SHOWN_ATTRIBUTES: Mapping[str, str] = {"class": "class", "fill": "color", "hint": "hint", "style": "style"}
"""Attributes of a node that its line tells, and what they are called there."""


def text_of(seen: Seen, wants: Wants) -> str:
    """Everything that can be said in words."""
    lines = [f"! {notice}" for notice in seen.notices]
    if seen.tree is not None and wants.tree:
        lines += tree_lines(seen.tree, focus=wants.focus)
    elif seen.tree is not None and wants.focus and (node := _focused(seen.tree)) is not None:
        lines.append(f"focus: {node_line(node)}")
    return "\n".join(lines)


def content_of(seen: Seen, wants: Wants, before: str = "") -> str | tuple[Part, ...]:
    """An observation: a text, or one with a picture after it.

    Args:
        before: a text that comes first.
    """
    text = "\n".join(part for part in (before, text_of(seen, wants)) if part)
    if seen.screenshot is None:
        return text
    return (Part.text(text), picture(seen.screenshot)) if text else (picture(seen.screenshot),)


def picture(screenshot: Screenshot) -> Part:
    """A screenshot as a part of a message."""
    return Part.image_url("data:image/png;base64," + base64.b64encode(screenshot.png).decode())


def tree_lines(tree: Tree, *, focus: bool = True) -> list[str]:
    """A line for each node, indented where a node lies in another one that has a line."""
    lines = [
        "  " * node.depth + node_line(node, focused=focus and node.id == tree.focused)
        for node in tree.nodes[:MOST_NODES]
    ]
    if (more := len(tree.nodes) - MOST_NODES) > 0:
        lines.append(f"… {more} more are not shown")
    return lines


def node_line(node: Node, *, focused: bool = False) -> str:
    """
    >>> node_line(Node(12, "button", "Submit"), focused=True)
    '[12] button "Submit" focused'
    >>> node_line(Node(3, "textbox", "Name", value="Ann", states=("disabled",)))
    '[3] textbox "Name" = "Ann" disabled'
    """
    words = [f"[{node.id}]", node.role]
    if node.name:
        words.append(_quoted(node.name))
    if node.value is not None:
        words += ["=", _quoted(node.value)]
    words += [f"{SHOWN_ATTRIBUTES[name]}={value}" for name, value in node.attributes if name in SHOWN_ATTRIBUTES]
    words += _states(node.states, focused)
    return " ".join(words)


def _states(states: Iterable[str], focused: bool) -> list[str]:
    return [state for state in states if state != "focused"] + ["focused"] * focused


def _focused(tree: Tree) -> Node | None:
    return None if tree.focused is None else tree.node(tree.focused)


def _quoted(text: str) -> str:
    """On one line, and of a length that can be read."""
    line = " ".join(text.split())
    return f'"{line}"' if len(line) <= LONGEST_TEXT else f'"{line[:LONGEST_TEXT]}…"'
