"""Numbers drawn into a screenshot, so that a policy that sees can name what it means ("set of marks")."""

from __future__ import annotations

import functools
import io
from dataclasses import replace
from typing import Any

from agentenv.errors import MissingExtraError
from agentenv.threads import THREADS
from agentenv_gui.seen import Box, Node, Screenshot, Tree

COLOURS = ("#d60000", "#018700", "#b500ff", "#0546b8", "#a8570a", "#00727a", "#c00c6a", "#5c5c00")
"""One after the other, so that neighbours differ. White can be read on each."""
LETTERS = 11
"""Height of the numbers, in pixels of the surface."""


async def marked(screenshot: Screenshot, tree: Tree) -> Screenshot:
    """The same screenshot, with a frame around each node that is shown and holds no other, and its id in a corner.

    Raises:
        MissingExtraError: pillow is not installed.
    """
    drawn: Screenshot = await THREADS.run(functools.partial(_drawn, screenshot, tree))
    return drawn


def innermost(tree: Tree) -> list[Node]:
    """The nodes that are shown and hold no others."""
    after = (*tree.nodes[1:], None)
    pairs = zip(tree.nodes, after, strict=True) if tree.nodes else ()
    return [node for node, next in pairs if node.box is not None and (next is None or next.depth <= node.depth)]


def _drawn(screenshot: Screenshot, tree: Tree) -> Screenshot:
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError:
        raise MissingExtraError("drawing marks into a screenshot", "gui") from None
    picture = Image.open(io.BytesIO(screenshot.png)).convert("RGB")
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(LETTERS * max(1.0, screenshot.scale))
    for node in innermost(tree):
        assert node.box is not None
        _mark(draw, font, node.id, _on_picture(node.box, screenshot), screenshot.size.width)
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return replace(screenshot, png=file.getvalue())


def _on_picture(box: Box, screenshot: Screenshot) -> tuple[float, float, float, float]:
    """Left, top, right and bottom in pixels of the picture."""
    left, top = (screenshot.zoomed.left, screenshot.zoomed.top) if screenshot.zoomed is not None else (0.0, 0.0)
    corners = box.left - left, box.top - top, box.left + box.width - left, box.top + box.height - top
    x0, y0, x1, y1 = (one * screenshot.scale for one in corners)
    return x0, y0, x1, y1


def _mark(draw: Any, font: Any, id: int, box: tuple[float, float, float, float], width: int) -> None:
    colour = COLOURS[id % len(COLOURS)]
    x0, y0, x1, y1 = box
    draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour)
    left, top, right, bottom = font.getbbox(str(id))
    wide, high = right - left + 3, bottom - top + 3
    at = min(max(0.0, x1 - wide), max(0.0, width - wide)), max(0.0, y0 - high / 2)
    draw.rectangle((*at, at[0] + wide, at[1] + high), fill=colour)
    draw.text((at[0] + 2 - left, at[1] + 2 - top), str(id), fill="white", font=font)
