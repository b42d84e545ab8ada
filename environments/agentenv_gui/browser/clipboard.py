"""What a page has copied. The browser has one clipboard for all pages; here each page has its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from agentenv_gui.browser.eyes import Eyes

_COPY = ({"Control", "c"}, {"Control", "x"}, {"Control", "Insert"}, {"Shift", "Delete"})
_PASTE = ({"Control", "v"}, {"Control", "Shift", "v"}, {"Shift", "Insert"})


class Clipboard:
    """The clipboard of one page.

    Args:
        turn: held while the browser's is used.

    Attributes:
        text: what is in it.
    """

    def __init__(self, turn: asyncio.Lock, eyes: Eyes) -> None:
        self._turn, self._eyes = turn, eyes
        self.text = ""

    @contextlib.asynccontextmanager
    async def around(self, keys: tuple[str, ...]) -> AsyncIterator[None]:
        """While keys are pressed: if they copy or paste, the browser's clipboard is this page's for the time being."""
        pressed = {key.lower() if len(key) == 1 else key for key in keys}
        if pressed not in (*_COPY, *_PASTE):
            yield
            return
        async with self._turn:
            await self._eyes.call("takeCopied")
            if pressed in _PASTE:
                await self._eyes.call("put", self.text)
            yield
            copied = await self._eyes.call("takeCopied")
        if copied is not None and pressed in _COPY:
            self.text = copied
