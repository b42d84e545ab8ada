"""Whatever a page does, an episode goes on, or fails alone."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from agentenv.errors import SandboxError
from agentenv_gui.actions import Button, Click, Point, Press, Wait
from agentenv_gui.browser import clock
from agentenv_gui.browser.cdp import BrowserGone
from agentenv_gui.browser.chromium import Chromium
from agentenv_gui.browser.page import Page, PageOptions, ScriptError, open_page
from agentenv_gui.browser.watch import MOST_NOTICES
from agentenv_gui.seen import Wants
from tests.gui_browser.site import PICTURE, SIZE, Site, document, look

pytestmark = pytest.mark.asyncio(loop_scope="session")

HERE = Click(Point(5, 5))


async def notices(page: Page) -> tuple[str, ...]:
    return (await look(page)).notices


async def on_click(page: Page, script: str, body: str = "") -> None:
    """Loads a page that does this when it is clicked at, and clicks."""
    await page.goto(document(f"{body}<script>onclick = () => {{ {script} }}</script>"))
    await page.act(HERE)


async def test_dialogs_are_answered_and_told_of(page: Page) -> None:
    await on_click(page, "answers = [alert('Hello'), confirm('Sure?'), prompt('Name?', 'Ann'), prompt('Age?')]")
    assert await page.evaluate("answers") == [None, True, "Ann", ""]
    assert await notices(page) == (
        'A dialog said "Hello" and was closed.',
        'A dialog asked "Sure?" and was answered with yes.',
        'A dialog asked "Name?" and was answered with "Ann".',
        'A dialog asked "Age?" and was answered with "".',
    )
    assert await notices(page) == ()


async def test_a_page_that_does_not_want_to_be_left_is_left(page: Page) -> None:
    await page.goto(document("<p>first</p><script>onbeforeunload = () => 'no'</script>"))
    await page.act(HERE)
    await page.goto(document("<p>second</p>"))
    assert await notices(page) == ("The page asked whether it may be left, and was left.",)


@pytest.mark.parametrize("event", ["onload", "onblur", "onfocus"])
async def test_dialogs_without_end_are_no_end(page: Page, event: str) -> None:
    await page.goto(document(f"<script>n = 0; {event} = () => {{ while (n++ < 100) alert(n) }}</script><input>"))
    await page.act(Press(("Tab",)))
    assert len(await notices(page)) <= MOST_NOTICES + 1


@pytest.mark.parametrize(
    "opening",
    ["window.open(`${there}`)", "document.links[0].click()", "window.open(`${there}`, 'x', 'popup,width=100')"],
)
async def test_what_a_click_opens_in_a_new_window_is_shown_in_place_of_the_page(
    page_of_site: Page, site: Site, opening: str
) -> None:
    site.pages |= {
        "/": "<a href=/new target=_blank>new</a><script>there = '/new';"
        f"onclick = (event) => {{ if (event.isTrusted) {opening} }}</script>",
        "/new": "the new window",
    }
    await page_of_site.goto(site.url())
    await page_of_site.act(Click(Point(200, 200)))
    assert await page_of_site.evaluate("document.body.innerText") == "the new window"
    assert (await notices(page_of_site))[0].startswith("A new window was to show http://127.0.0.1")
    await page_of_site.act(Click(Point(5, 5), Button.BACK))
    assert (await look(page_of_site)).address == site.url()


async def test_a_window_that_nobody_asked_for_is_not_opened(page: Page) -> None:
    await page.goto(document("<p>here</p><script>opened = open('data:text/html,advertisement')</script>"))
    await page.act(Wait(0.1))
    assert await page.evaluate("[opened, document.body.innerText.trim()]") == [None, "here"]
    assert await notices(page) == ("A new window was not opened: data:text/html,advertisement",)


async def test_a_download_is_denied(page: Page, tmp_path: Path) -> None:
    await page.goto(
        document("<a download=file.bin href='data:application/octet-stream,x' style='position:fixed;inset:0'>get</a>")
    )
    await page.act(HERE)
    assert await notices(page) == ('The download of "file.bin" was denied.',)
    with pytest.raises(SandboxError, match="cannot be loaded"):
        await page.goto("data:application/octet-stream,x")


async def test_a_page_that_asks_for_a_file_is_given_none(page: Page) -> None:
    await page.goto(document("<input type=file style='position:fixed;inset:0'>"))
    await page.act(HERE)
    assert await notices(page) == ("The page asked for a file, and was given none.",)


async def test_lists_and_calendars_do_not_open_where_they_cannot_be_seen(page: Page) -> None:
    await page.goto(
        document(
            "<select id=s style='width:100px'><option>one<option>two</select>"
            "<input id=d type=date style='position:fixed;left:0;top:100px;width:150px'>"
            "<input id=c type=color style='position:fixed;left:0;top:150px;width:150px'>"
        )
    )
    for place in (Point(140, 110), Point(20, 160), Point(20, 10)):
        await page.act(Click(place))
        assert (await page.see(PICTURE)).screenshot is not None
    tree = (await look(page)).tree
    assert tree is not None
    option = next(node for node in tree.nodes if node.name == "two")
    assert option.box is not None
    await page.act(Click(Point(option.box.left + 5, option.box.top + 5)))
    assert await page.evaluate("s.value") == "two"


async def test_what_opens_in_a_window_of_its_own_all_the_same_is_closed_for_a_picture(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "PICTURE_SECONDS", 0.3)
    await on_click(
        page,
        "host.shadowRoot.querySelector('select').showPicker()",
        "<div id=host></div><script>"
        "host.attachShadow({mode: 'open'}).innerHTML = '<select><option>one<option>two</select>'</script>",
    )
    seen = await page.see(Wants())
    assert seen.screenshot is not None
    assert seen.notices == ("Something that opened in a window of its own was closed.",)


@pytest.mark.parametrize(
    "script",
    [
        "document.body.requestPointerLock()",
        "document.documentElement.requestFullscreen()",
        "resizeTo(10, 10)",
        "window.close()",
        "print()",
        "document.documentElement.remove()",
        "document.open()",
        "document.body.outerHTML = '<frameset><frame src=about:blank></frameset>'",
        "navigator.clipboard.readText()",
        "showOpenFilePicker()",
        "debugger",
        "location = 'mailto:someone@example.com'",
        "location = 'chrome://version'",
    ],
)
async def test_what_a_page_has_no_right_to_changes_nothing_about_how_it_is_seen(page: Page, script: str) -> None:
    await on_click(page, script)
    await page.act(Click(Point(300, 200)))
    seen = await page.see(Wants())
    assert seen.screenshot is not None
    assert seen.screenshot.size == SIZE
    assert page.usable


async def test_a_script_that_throws_is_the_failure_of_whoever_ran_it(page: Page) -> None:
    await page.goto(document(""))
    with pytest.raises(ScriptError, match="nothing is not defined"):
        await page.evaluate("nothing.at.all")
    assert await page.evaluate("[undefined, null, NaN, [1, {a: 'é\\u0000'}]]") == [None, None, None, [1, {"a": "é\0"}]]
    assert page.usable


async def test_a_page_may_break_what_it_likes_and_is_seen_all_the_same(page: Page) -> None:
    await page.goto(
        document(
            "<button>here</button><script>JSON.stringify = Array.prototype.map = document.createRange = null;"
            "Element.prototype.getClientRects = () => []; window.Node = undefined; Object.freeze(document)</script>"
        )
    )
    tree = (await look(page)).tree
    assert tree is not None
    assert [node.name for node in tree.nodes] == ["here"]


async def test_a_page_that_floods_with_requests_and_messages_is_borne(page_of_site: Page, site: Site) -> None:
    site.pages |= {
        "/": "<script>onclick = () => { for (let i = 0; i < 300; i++) {"
        "fetch('/x' + i); fetch('http://a.example/' + i); console.log('x'.repeat(1000)) } }</script>"
    }
    await page_of_site.goto(site.url())
    await page_of_site.act(HERE)
    told = await notices(page_of_site)
    assert len(told) == MOST_NOTICES + 1
    assert "more" in told[-1]
    assert len(site.asked) == 301


async def test_a_tab_that_crashes_fails_alone(chromium: Chromium, page: Page) -> None:
    await page.goto(document("well"))
    async with open_page(chromium, PageOptions(SIZE)) as bad:
        with pytest.raises(SandboxError):
            await bad.goto("chrome://crash")
        for again in (bad.act(HERE), bad.see(Wants()), bad.evaluate("1"), bad.goto(document(""))):
            with pytest.raises(BrowserGone, match="crashed"):
                await again
        assert not bad.usable
    assert await page.evaluate("document.body.innerText") == "well"


async def test_a_browser_that_is_killed_in_the_middle_fails_at_once() -> None:
    async with Chromium() as browser, open_page(browser, PageOptions(SIZE)) as page:
        await page.goto(document("well"))
        acting = asyncio.create_task(page.act(Wait(60.0)))
        await asyncio.sleep(0.05)
        os.kill(browser.pid, signal.SIGKILL)
        with pytest.raises(BrowserGone, match="the browser has ended"):
            await acting
        with pytest.raises(BrowserGone):
            await page.see(Wants())
        assert not browser.alive
        assert not page.usable
