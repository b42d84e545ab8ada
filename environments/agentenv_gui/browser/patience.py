"""How long a page is waited for: a script that does not end is stopped; what does not answer then is given up."""

from __future__ import annotations

import asyncio
from typing import Any

from agentenv_gui.browser.cdp import Answer, BrowserStuck, Parameters, Session
from agentenv_gui.browser.watch import Watch

SCRIPT_SECONDS = 5.0
"""Seconds, of real time, that a script of a page may take at a stretch."""
LAST_SECONDS = 5.0
"""Seconds that a page has to answer after its script was stopped."""


class Patience:
    """Waits for the answers of a page.

    Args:
        context: the id of the page's context.

    Attributes:
        session: of the page.
    """

    def __init__(self, session: Session, watch: Watch, context: str) -> None:
        self.session = session
        self._watch, self._context = watch, context

    async def send(self, method: str, params: Parameters | None = None) -> dict[str, Any]:
        """As `Session.send`, with the patience of `answer`."""
        return await self.answer(self.session.post(method, params))

    async def answer(self, future: Answer) -> dict[str, Any]:
        """Waits for an answer, and stops the page's script if it does not come for `SCRIPT_SECONDS`.

        Raises:
            BrowserStuck: there is none for all that, and the page is closed, since others may have to wait for it.
            CommandError, BrowserGone: as of `Session.send`.
        """
        session = self.session
        try:
            return await session.answer(asyncio.shield(future), SCRIPT_SECONDS)
        except BrowserStuck:
            pass
        try:
            await session.send("Runtime.terminateExecution", timeout=LAST_SECONDS)
            self._watch.notice("A script of the page that did not end was stopped.")
            return await session.answer(asyncio.shield(future), LAST_SECONDS)
        except BrowserStuck:
            session.connection.post("Target.disposeBrowserContext", {"browserContextId": self._context})
            raise
