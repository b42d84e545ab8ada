"""`agentenv mcp serve tools` before the official conformance suite's clients: what it has on servers of tools.

Left out are the scenarios on what such a server does not have: resources, prompts, completion, sampling, elicitation,
logging, progress (`caching` asks for resources and prompts too) and the extensions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from agentenv.mcp.server import FunctionTools, HTTPConfig, over_http, server_of, tools_of_file
from tests.support.mcp_conformance import conformance, suite_is_there

OLDEST, OLDER, NEWEST = "2025-06-18", "2025-11-25", "2026-07-28"
EVERY = (OLDEST, OLDER, NEWEST)
VERSIONS: dict[str, tuple[str, ...]] = {
    "server-initialize": (OLDEST, OLDER),
    "server-session-lifecycle": (OLDEST, OLDER),
    "ping": (OLDEST, OLDER),
    "tools-list": EVERY,
    "tools-call-simple-text": EVERY,
    "tools-call-image": EVERY,
    "tools-call-audio": EVERY,
    "tools-call-error": EVERY,
    "server-sse-multiple-streams": (OLDER, NEWEST),
    "dns-rebinding-protection": (OLDER, NEWEST),
    "http-header-validation": (NEWEST,),
    "input-required-result-unsupported-methods": (NEWEST,),
}
SCENARIOS = [(name, version) for name, versions in VERSIONS.items() for version in versions]


@pytest.fixture(scope="module", autouse=True)
def suite() -> None:
    suite_is_there()


@pytest_asyncio.fixture
async def url() -> AsyncIterator[str]:
    tools = tools_of_file([str(Path(__file__).parent / "tools.py")])
    async with over_http(server_of("conformance", FunctionTools(tools)), HTTPConfig(port=0)) as found:
        yield found


@pytest.mark.parametrize(("scenario", "version"), SCENARIOS)
async def test_every_check_of_the_scenario_passes(url: str, scenario: str, version: str) -> None:
    report = await conformance("server", "--url", url, "--scenario", scenario, "--spec-version", version)
    assert report.ok, report.text
