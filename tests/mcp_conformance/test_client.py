"""Our client before the official conformance suite's servers, in both eras. What it has on OAuth is the SDK's."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from tests.support.mcp_conformance import conformance, suite_is_there

ROOT = Path(__file__).parents[2]
OLDEST, OLDER, NEWEST = "2025-06-18", "2025-11-25", "2026-07-28"
SCENARIOS = [
    ("initialize", OLDEST),
    ("tools_call", OLDEST),
    ("tools_call", NEWEST),
    ("elicitation-sep1034-client-defaults", OLDER),
    ("sse-retry", OLDER),
    ("request-metadata", NEWEST),
    ("sep-2322-client-request-state", NEWEST),
    ("http-standard-headers", NEWEST),
    ("http-custom-headers", NEWEST),
    ("http-invalid-tool-headers", NEWEST),
    ("json-schema-ref-no-deref", NEWEST),
    ("json-schema-2020-12-preservation", NEWEST),
]


@pytest.fixture(scope="module", autouse=True)
def suite() -> None:
    suite_is_there()


@pytest.mark.parametrize(("scenario", "version"), SCENARIOS)
async def test_every_check_of_the_scenario_passes(scenario: str, version: str) -> None:
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(ROOT / 'tests' / 'mcp_conformance' / 'client.py'))}"
    report = await conformance("client", "--command", command, "--scenario", scenario, "--spec-version", version)
    assert report.ok, report.text
