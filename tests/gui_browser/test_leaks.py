"""A hundred leases leave nothing behind."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

import pytest

from agentenv_gui.actions import Click, Point
from agentenv_gui.browser.memory import processes_of
from agentenv_gui.browser.page import PageOptions
from agentenv_gui.browser.pool import PagePool, PoolOptions
from tests.gui_browser.site import SIZE, TREE, document
from tests.support.chromium import require_chromium

LEASES = 100
"""Every fourth has a new page."""


async def test_a_hundred_leases_leave_no_context_no_process_no_file_and_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_chromium()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    descriptors = len(os.listdir("/proc/self/fd"))
    async with PagePool(PoolOptions(pages=4)) as pool:

        async def episode(number: int) -> None:
            async with pool.lease(PageOptions(SIZE), kind="warm" if number % 4 else None) as page:
                if number % 4 == 0 or await page.evaluate("document.title") != "warm":
                    await page.goto(document("<title>warm</title><button>x</button>"))
                await page.perform(Click(Point(5, 5)))
                await page.see(TREE)

        async with asyncio.TaskGroup() as tasks:
            for number in range(LEASES):
                tasks.create_task(episode(number))
        browser = pool.browser
        assert browser is not None
        processes = processes_of(browser.pid)
        assert len((await browser.connection.send("Target.getBrowserContexts"))["browserContextIds"]) <= 4
        assert not browser.connection._waiting
        assert len(browser.connection._handlers) <= 4 * 20
    assert not set(os.listdir("/proc")) & {str(pid) for pid in processes}
    assert os.listdir(tmp_path) == []
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 1  # the event loop's own
