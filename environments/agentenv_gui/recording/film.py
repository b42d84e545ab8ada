"""A recording as a film: one HTML file with everything in it, to be opened in a browser or mailed."""

from __future__ import annotations

import base64
import html
import importlib.resources
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from agentenv_gui.recording.captions import caption, places
from agentenv_gui.recording.log import Acted, Looked, Recording
from agentenv_gui.seen import Screenshot, Tree
from agentenv_gui.wire import action_name

_TEMPLATE = "film.html"


@dataclass(slots=True)
class Frame:
    """What was seen at one moment, and what was done then."""

    look: Looked | None
    acted: list[Acted] = field(default_factory=list)


def frames(recording: Recording) -> list[Frame]:
    """A frame for each look; actions before the first one have a frame without a picture."""
    found: list[Frame] = []
    for exchange in recording.exchanges:
        if isinstance(exchange, Looked):
            found.append(Frame(exchange))
        else:
            if not found:
                found.append(Frame(None))
            found[-1].acted.append(exchange)
    return found


def film(recording: Recording, title: str = "") -> str:
    """The film as HTML. It loads nothing from anywhere; texts of pages are shown and never run.

    Where a look has no picture the one before stays, and the actions are drawn on it.
    """
    pictures: dict[bytes, int] = {}
    told = list(_told(frames(recording), pictures))
    images = [base64.b64encode(png).decode() for png in pictures]
    data = {"size": [recording.size.width, recording.size.height], "images": images, "frames": told}
    # In a script element only "</" and "<!--" end or change what is data.
    written = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    template = importlib.resources.files(__package__).joinpath(_TEMPLATE).read_text(encoding="utf-8")
    filled = {"title": html.escape(title or "Recording"), "data": written}
    return re.sub(r"\{\{(\w+)\}\}", lambda found: filled[found[1]], template)


def _told(shown: Iterable[Frame], pictures: dict[bytes, int]) -> Iterable[dict[str, Any]]:
    tree: Tree | None = None
    for frame in shown:
        seen = None if frame.look is None else frame.look.seen
        if seen is not None and seen.tree is not None:
            tree = seen.tree
        yield {
            "at": frame.look.at if frame.look else 0.0,
            "screen": _picture(seen.screenshot if seen else None, pictures),
            "title": seen.title if seen else "",
            "address": seen.address if seen else "",
            "notices": list(seen.notices) if seen else [],
            "pointer": seen.pointer if seen else None,
            "actions": [_action(acted, tree) for acted in frame.acted],
        }


def _picture(screenshot: Screenshot | None, pictures: dict[bytes, int]) -> int | None:
    """The number of a picture; a part of the screen at another scale is none to draw on."""
    if screenshot is None or screenshot.zoomed is not None or not screenshot.png:
        return None
    return pictures.setdefault(screenshot.png, len(pictures))


def _action(acted: Acted, tree: Tree | None) -> dict[str, Any]:
    return {
        "kind": action_name(acted.action),
        "caption": caption(acted.action, tree),
        "places": [[place.x, place.y] for place in places(acted.action, tree)],
        "refused": acted.refused,
        "at": acted.at,
        "seconds": acted.seconds,
    }
