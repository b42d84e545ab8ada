"""One real headless Chromium for all tests of a worker: the fixture `chromium`.

It lives in the event loop of the session, and so do the tests that use it:

    pytestmark = pytest.mark.asyncio(loop_scope="session")

    async def test_something(chromium: Chromium) -> None:
        async with open_page(chromium) as page:
            ...

A test that ends a browser starts one of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from agentenv.errors import MissingDataError
from agentenv_gui.browser.chromium import Chromium, find
from tests.conftest import require


def require_chromium() -> None:
    """Skips the test where there is no browser, or fails it when `CI=true`."""
    try:
        find()
    except MissingDataError as missing:
        require(False, f"a headless Chromium (scripts/make-chromium): {missing}")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Chromium]:
    require_chromium()
    async with Chromium() as browser:
        yield browser
