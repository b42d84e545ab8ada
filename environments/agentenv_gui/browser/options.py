"""How a page is made."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agentenv.errors import ConfigError
from agentenv_gui.browser.chromium import NOWHERE
from agentenv_gui.seen import Size

_HOST = re.compile(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(:\d{1,5})?|\[[0-9a-fA-F:]+\](:\d{1,5})?")
USUAL_SIZE = Size(1280, 720)
NOON = 1_767_268_800.0
"""The first of January 2026, 12:00 UTC."""


@dataclass(frozen=True, slots=True)
class PageOptions:
    """How a page is made.

    Attributes:
        size: of its window, in CSS pixels. scale: pixels of a screenshot for one of these.
        scripts: run in every document before its own.
        reachable: the only hosts that it can reach, each with a port where only one is meant: `127.0.0.1:8000`,
            `example.com`, `*.example.com`, `[::1]:80`. None, unless given. Files and data are not hosts: a page that is
            loaded from a file can load others.
        unix: what time it is there when it is opened, in seconds of Unix.

    Raises:
        ConfigError: something of that makes no sense.
    """

    size: Size = USUAL_SIZE
    scale: float = 1.0
    scripts: tuple[str, ...] = ()
    reachable: tuple[str, ...] = ()
    unix: float = NOON

    def __post_init__(self) -> None:
        if not (0 < self.size.width <= 10_000 and 0 < self.size.height <= 10_000 and 0 < self.scale <= 10):
            raise ConfigError(
                f"a page is 1 to 10000 pixels wide and high, at a scale up to 10, not {self.size} at {self.scale}"
            )
        if not self.unix > 0:
            raise ConfigError(f"the time in a page is seconds since 1970, not {self.unix!r}")
        for host in self.reachable:
            if not _HOST.fullmatch(host):
                raise ConfigError(
                    f"what a page may reach is a host, such as 'example.com', '*.example.com' or '127.0.0.1:8000', "
                    f"not {host!r}"
                )

    @property
    def context(self) -> dict[str, object]:
        """The parameters of the browser's context. All else goes to a proxy that is not there, names included."""
        allowed = ";".join(("<-loopback>", *self.reachable))
        return {"disposeOnDetach": True, "proxyServer": f"http://{NOWHERE}:1", "proxyBypassList": allowed}


USUAL = PageOptions()
"""Of a page that needs nothing special."""
