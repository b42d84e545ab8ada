"""An episode in a page that was used before is the one that a new page would have had; and no thinking takes time."""

from __future__ import annotations

import asyncio

import pytest

from agentenv_gui.browser.chromium import Chromium
from agentenv_gui.browser.page import open_page
from agentenv_gui.miniwob.oracle import actions_of
from agentenv_gui.miniwob.proof import differences
from agentenv_gui.miniwob.scripts import RELOADED
from agentenv_gui.miniwob.stage import OPTIONS, Stage
from agentenv_gui.miniwob.tasks import Assignment
from tests.gui_miniwob.conftest import Make, begun, solved

pytestmark = pytest.mark.asyncio(loop_scope="session")

SAMPLE = (
    "click-dialog",
    "click-scroll-list",
    "drag-items",
    "draw-line",
    "email-inbox",
    "form-sequence",
    "hover-shape",
    "scroll-text",
    "simon-says",
    "stock-market",
    "terminal",
    "use-slider",
)
TIMED = ("button-delay", "chase-circle", "click-collapsible", "moving-items", "simon-says", "stock-market")


@pytest.mark.parametrize("name", SAMPLE)
async def test_a_used_page_is_as_good_as_a_new_one(chromium: Chromium, name: str) -> None:
    assert name not in RELOADED
    assert await differences(chromium, name, range(50, 53)) == []


@pytest.mark.parametrize("name", ["book-flight", "moving-items", "use-spinner"])
async def test_where_it_is_not_that_is_found_out(chromium: Chromium, name: str) -> None:
    assert name in RELOADED
    assert await differences(chromium, name, range(50, 52))


@pytest.mark.parametrize("name", ["use-spinner"])
async def test_pages_that_would_keep_something_are_loaded_for_each_episode(make: Make, name: str) -> None:
    env = make(name, prove=True)
    for seed in range(2):
        await begun(env, seed=seed)
        assert (await solved(env)).reward > 0  # type: ignore[operator]


async def test_a_page_that_is_not_as_new_is_reported_where_that_is_asked_for(make: Make) -> None:
    env = make("click-test", prove=True)
    await begun(env)
    await begun(env, seed=1)


@pytest.mark.parametrize("name", TIMED)
async def test_latency_changes_no_reward(chromium: Chromium, name: str) -> None:
    """Between two actions the browser itself lets five seconds go by, animations, frames and all."""
    earned = []
    async with open_page(chromium, OPTIONS) as page:
        for latency in (0.0, 5.0):
            stage = Stage(page)
            await stage.begin(Assignment(name, 7), fresh=True)
            keys = []
            for turn in range(130):
                if stage.reading.over:
                    break
                if latency and turn % 20 == 1:
                    await page.run_clock(latency)
                for action in actions_of(stage.reading.step or {}):
                    await stage.act(action)
                keys.append(stage.reading.key)
            earned.append((stage.reading.reward, stage.reading.raw, stage.reading.seconds, keys))
    assert earned[0] == earned[1]
    assert earned[0][1] == 1.0


async def test_a_policy_that_thinks_for_two_real_seconds_earns_the_same(make: Make) -> None:
    env = make("click-button-sequence")
    await begun(env)
    await asyncio.sleep(2)
    assert (await solved(env)).reward == 0.99
