"""Pages for the tests: from data, or from a server on this machine."""

from __future__ import annotations

import asyncio
import base64
from types import TracebackType
from typing import Self

from aiohttp import web

from agentenv_gui.browser.page import Page
from agentenv_gui.seen import Node, Seen, Size, Wants

SIZE = Size(400, 300)
TREE = Wants(screenshot=False)
PICTURE = Wants(tree=False, focus=False)

LOG = """<script>
  window.log = [];
  const told = ['keydown', 'keypress', 'keyup', 'input', 'change'];
  told.push('mousedown', 'mouseup', 'click', 'dblclick', 'contextmenu', 'wheel');
  for (const type of told) addEventListener(type, (event) => log.push([type, event.key ?? event.detail]), true);
</script>"""
"""Put into a page, it writes down what comes in."""


def document(body: str) -> str:
    """The address of a page with this in it."""
    whole = f"<!DOCTYPE html><meta charset=utf-8><body style='margin:0'>{body}</body>"
    return "data:text/html;base64," + base64.b64encode(whole.encode()).decode()


async def look(page: Page) -> Seen:
    return await page.see(TREE)


async def node(page: Page, name: str, role: str | None = None) -> Node:
    """What has this name in a tree that is looked at now."""
    tree = (await look(page)).tree
    assert tree is not None
    return next(one for one in tree.nodes if one.name == name and role in (None, one.role))


class Site:
    """A server on this machine. Pages by their path are what was put into `pages`; a path with a delay answers late.

    Attributes:
        host: its address and port. pages: by path. asked: paths, in the order of asking.
        late: paths that answer when `answer_late` was set. leads: where paths lead to, which are not there themselves.
    """

    def __init__(self) -> None:
        self.pages: dict[str, str] = {}
        self.asked: list[str] = []
        self.late: set[str] = set()
        self.leads: dict[str, str] = {}
        self.answer_late = asyncio.Event()
        self.host = ""
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)

    def clear(self) -> None:
        """Forgets all of that."""
        self.pages.clear()
        self.asked.clear()
        self.late.clear()
        self.leads.clear()
        self.answer_late.clear()

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.host = f"{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.answer_late.set()
        await self._runner.cleanup()

    def url(self, path: str = "/") -> str:
        return f"http://{self.host}{path}"

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if request.path in self.late:
            await self.answer_late.wait()
        if (elsewhere := self.leads.get(request.path)) is not None:
            raise web.HTTPFound(elsewhere)
        body = self.pages.get(request.path)
        if body is None:
            return web.Response(status=404, text="nothing")
        return web.Response(text=f"<!DOCTYPE html><body style='margin:0'>{body}", content_type="text/html")
