"""The space of a dialect: in which units it gives places on a surface, and how far its wheel turns.

Three spaces are known: the surface's own pixels, thousandths of its width and height, and the pixels of a picture of
another size, which is what a model sees of a screen that is too large for it. All are straight lines through the upper
left corner, so a distance is converted as a place is. A place outside the surface stays outside: the surface says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agentenv.errors import ConfigError
from agentenv_gui.actions import Point
from agentenv_gui.seen import Size

PIXELS = "pixels"
PER_MILLE = "0-1000"

WHEEL_CLICK = 100.0
"""Pixels of the surface that one click of the wheel stands for, as in OpenAI's recipe for X11 and in Chromium."""


@dataclass(frozen=True, slots=True)
class Space:
    """Units that are whole numbers, counted from the surface's upper left corner.

    Attributes:
        surface: its size, in pixels. units: how many units that is.
    """

    surface: Size
    units: Size

    @classmethod
    def declared(cls, name: str, surface: Size) -> Space:
        """The space that a configuration names: "pixels", "0-1000", or a picture's size such as "1280x720".

        Raises:
            ConfigError: it names none, or one of the sizes is nothing.
        """
        picture = re.fullmatch(r"(\d{1,6})x(\d{1,6})", name)
        if picture is not None:
            units = Size(int(picture[1]), int(picture[2]))
        elif name in (PIXELS, PER_MILLE):
            units = surface if name == PIXELS else Size(1000, 1000)
        else:
            raise ConfigError(f"there is no space {name!r}: it is {PIXELS}, {PER_MILLE}, or a size such as 1280x720")
        if min(surface.width, surface.height, units.width, units.height) < 1:
            raise ConfigError(f"space {name!r}: neither the surface nor the picture can be without extent")
        return cls(surface, units)

    def to_surface(self, x: float, y: float) -> Point:
        """A place or a distance in units, as one in pixels."""
        return Point(x * self.surface.width / self.units.width, y * self.surface.height / self.units.height)

    def from_surface(self, x: float, y: float) -> tuple[int, int]:
        """A place or a distance in pixels, as one in units: the nearest."""
        return round(x * self.units.width / self.surface.width), round(y * self.units.height / self.surface.height)

    def __str__(self) -> str:
        """What a policy is told of it."""
        if self.units == Size(1000, 1000):
            span = "thousandths of the screen's width and height, 0 to 1000"
        else:
            span = f"pixels of the {self.units.width}x{self.units.height} screenshot"
        return f"{span}, from its upper left corner"
