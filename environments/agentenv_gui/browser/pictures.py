"""Screenshots of a page."""

from __future__ import annotations

import base64
import binascii
import struct

from agentenv.errors import SandboxError
from agentenv_gui.actions import Zoom
from agentenv_gui.browser.clock import Clock
from agentenv_gui.browser.eyes import Eyes
from agentenv_gui.browser.options import PageOptions
from agentenv_gui.browser.patience import Patience
from agentenv_gui.seen import Box, Screenshot, Size

MOST_ZOOM = 8.0
"""How many times larger a part of the screen is shown at most."""

TRIES = 100
"""Frames that are drawn for a picture, at most: on a busy machine it takes some until one has it."""

_HEAD = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"


class Camera:
    """Takes pictures of one page."""

    def __init__(self, patience: Patience, clock: Clock, eyes: Eyes, options: PageOptions) -> None:
        self._patience, self._clock, self._eyes = patience, clock, eyes
        self._size, self._scale = options.size, options.scale

    def start(self) -> None:
        self._frame_to(None)

    async def picture(self, zoom: Zoom | None = None) -> Screenshot:
        """What is on the screen, or on a part of it.

        Raises:
            SandboxError: there is no picture.
        """
        if zoom is None and self._scale == 1.0:
            png = await self._taken()
            return Screenshot(png, size_of(png))
        box, times = (Box(0, 0, self._size.width, self._size.height), 1.0) if zoom is None else self._part(zoom)
        # Only what the camera is aimed at has another resolution than the window, and it is aimed in the document.
        left, top = await self._eyes.call("corner")
        part = {"x": left + box.left, "y": top + box.top, "width": box.width, "height": box.height, "scale": times}
        self._frame_to(part)
        try:
            await self._clock.frame()
            png = await self._taken()
        finally:
            self._frame_to(None)
        return Screenshot(png, size_of(png), self._scale * times, None if zoom is None else box)

    def _part(self, zoom: Zoom) -> tuple[Box, float]:
        """The part that is shown, as far as it lies on the screen, and how many times larger."""
        left, width = _between(zoom.left, zoom.right, self._size.width)
        top, height = _between(zoom.top, zoom.bottom, self._size.height)
        return Box(left, top, width, height), min(self._size.width / width, self._size.height / height, MOST_ZOOM)

    def _frame_to(self, part: dict[str, float] | None) -> None:
        size = {"width": self._size.width, "height": self._size.height}
        params = {**size, "deviceScaleFactor": self._scale, "mobile": False, **({"viewport": part} if part else {})}
        self._patience.session.post("Emulation.setDeviceMetricsOverride", params)

    async def _taken(self) -> bytes:
        """The picture. A frame may come without one, such as while its size changes: then the next one has it."""
        data = ""
        for _ in range(TRIES):
            answer = await self._clock.frame(format="png", optimizeForSpeed=True)
            if data := answer.get("screenshotData", ""):
                break
        return png_of(data)


def png_of(data: str) -> bytes:
    """The file of a picture that came as base64.

    Raises:
        SandboxError: it is none, or is damaged.
    """
    try:
        png = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise SandboxError("the browser's screenshot is no base64") from None
    if not png.startswith(_HEAD) or not png.endswith(_END):
        raise SandboxError(f"the browser's screenshot is damaged, or none: {len(png)} bytes")
    return png


def _between(one: float, other: float, most: int) -> tuple[float, float]:
    """Where a stretch begins and how long it is: at least a pixel, and nothing beyond the edges."""
    first, last = sorted(min(max(end, 0.0), most) for end in (one, other))
    first = min(first, most - 1.0)
    return first, max(last - first, 1.0)


def size_of(png: bytes) -> Size:
    """In pixels."""
    return Size(*struct.unpack(">II", png[16:24]))
