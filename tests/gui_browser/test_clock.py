"""A page's time goes by while something is done, and not while a policy thinks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from agentenv_gui.actions import Action, Click, Drag, Hold, Move, Point, Scroll, TypeText, Wait
from agentenv_gui.browser.chromium import Chromium
from agentenv_gui.browser.page import Page, PageOptions, open_page
from agentenv_gui.seen import Wants
from tests.gui_browser.site import SIZE, document

pytestmark = pytest.mark.asyncio(loop_scope="session")

COUNTING = """
<style>
  #moved { width: 100px; height: 20px; background: red; transition: width 700ms linear }
  #moved.on { width: 300px }
  #turning { width: 20px; height: 20px; background: blue; animation: turn 900ms 2 linear }
  @keyframes turn { from { margin-left: 0 } to { margin-left: 100px } }
</style>
<div id=moved></div><div id=turning></div><input id=field>
<div style="height:2000px"></div>
<script>
  const start = [Date.now(), performance.now()];
  const count = {timeouts: 0, intervals: 0, frames: 0, moves: 0, ended: 0, scrolled: 0, stamps: []};
  setInterval(() => { count.intervals += 1 }, 7);
  (function again() { count.timeouts += 1; setTimeout(again, 13) })();
  (function frame(now) { count.frames += 1; requestAnimationFrame(frame) })();
  addEventListener('transitionend', () => { count.ended = Date.now() - start[0] });
  addEventListener('mousemove', () => { count.moves += 1 });
  addEventListener('scroll', () => { count.scrolled += 1 });
  addEventListener('click', () => {
    moved.classList.toggle('on');
    requestAnimationFrame((now) => count.stamps.push(Math.round(now - start[1])));
  });
  const state = () => ({
    ...count, since: Date.now() - start[0], exact: Math.round(performance.now() - start[1]),
    width: moved.getBoundingClientRect().width, turned: getComputedStyle(turning).marginLeft, typed: field.value,
  });
</script>"""

ACTIONS: Sequence[Action] = (
    Click(Point(50, 10)),
    Move(Point(90, 90)),
    Drag((Point(10, 100), Point(60, 140))),
    Click(Point(50, 50)),
    TypeText("typed"),
    Scroll(down=100),
    Hold(("ArrowRight",), 0.3),
    Click(Point(50, 10)),
    Wait(1.5),
)


async def played(browser: Chromium, thinking: float) -> list[dict[str, Any]]:
    """The states of a page after each of the actions, with so many seconds of thinking before each."""
    states = []
    async with open_page(browser, PageOptions(SIZE)) as page:
        await page.goto(document(COUNTING))
        for action in ACTIONS:
            await asyncio.sleep(thinking)
            await page.act(action)
            states.append(await page.evaluate("state()"))
    return states


async def test_how_long_a_policy_thinks_changes_nothing(chromium: Chromium) -> None:
    slow, quick = await asyncio.gather(played(chromium, 0.1), played(chromium, 0.0))
    assert slow == quick
    assert quick[-1]["frames"] > 100
    assert quick[-1]["typed"] == "typed"


async def test_looking_takes_no_time(page: Page) -> None:
    await page.goto(document(COUNTING))
    await page.act(Click(Point(50, 10)))
    before = await page.evaluate("state()")
    for _ in range(3):
        await page.see(Wants())
    after = await page.evaluate("state()")
    assert {**after, "frames": 0, "stamps": 0} == {**before, "frames": 0, "stamps": 0}


async def test_time_goes_by_for_as_long_as_is_said(page: Page) -> None:
    await page.goto(document(COUNTING))
    before = await page.evaluate("state()")
    await page.run_clock(1.0)
    after = await page.evaluate("state()")
    assert after["since"] - before["since"] == 1000
    assert after["exact"] - before["exact"] == 1000
    assert after["intervals"] - before["intervals"] in (142, 143)
    assert after["frames"] - before["frames"] == 63


async def test_a_transition_comes_to_its_end_in_the_time_that_it_takes(page: Page) -> None:
    await page.goto(document(COUNTING))
    await page.evaluate("moved.classList.add('on')")
    at = await page.evaluate("state().since")
    await page.run_clock(0.35)
    assert 180 < await page.evaluate("state().width") < 220
    await page.run_clock(0.4)
    assert await page.evaluate("state().width") == 300
    assert 700 <= await page.evaluate("state().ended") - at < 740


async def test_a_page_has_the_time_of_day_that_it_was_given_and_keeps_it_in_other_documents(chromium: Chromium) -> None:
    async with open_page(chromium, PageOptions(SIZE, unix=1e9)) as page:
        await page.goto(document(""))
        assert 1e12 <= await page.evaluate("Date.now()") < 1e12 + 200
        await page.run_clock(10.0)
        await page.goto("file:///")  # elsewhere, browsers take another process for it
        assert 1e12 + 10_000 <= await page.evaluate("Date.now()") < 1e12 + 10_400


async def test_it_is_the_same_time_of_day_wherever_a_page_is_opened(page: Page) -> None:
    await page.goto(document(""))
    assert await page.evaluate("[new Date(0).getHours(), new Date().getTimezoneOffset()]") == [0, 0]


async def test_a_wait_in_a_frame_is_a_wait_in_the_page(page: Page) -> None:
    frame = "<script>setTimeout(() => parent.postMessage('from the frame', '*'), 300)</script>"
    await page.goto(
        document(f'<script>onmessage = ({{data}}) => {{ told = data }}</script><iframe srcdoc="{frame}"></iframe>')
    )
    assert await page.evaluate("window.told") is None
    await page.act(Wait(0.3))
    assert await page.evaluate("told") == "from the frame"
