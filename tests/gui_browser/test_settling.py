"""After an action a page is waited for until it has settled, however long that takes and no longer."""

from __future__ import annotations

import asyncio

import pytest

from agentenv.errors import SandboxError
from agentenv_gui.actions import Click, Point, Wait
from agentenv_gui.browser import clock, patience
from agentenv_gui.browser.chromium import Chromium
from agentenv_gui.browser.page import Page, PageOptions, open_page
from tests.gui_browser.site import SIZE, Site, document, look

pytestmark = pytest.mark.asyncio(loop_scope="session")

HERE = Click(Point(5, 5))


async def text(page: Page) -> str:
    found: str = await page.evaluate("document.body.innerText.trim()")
    return found


async def test_what_changes_frame_by_frame_is_waited_for(page: Page) -> None:
    grow = "const go = () => { if (n++ < 20) { bar.style.width = 5 * n + 'px'; requestAnimationFrame(go) } }; go()"
    await page.goto(
        document(
            "<div id=bar style='height:9px;width:1px;background:red'></div>"
            f"<script>n = 0; onclick = () => {{ {grow} }}</script>"
        )
    )
    await page.act(HERE)
    assert await page.evaluate("bar.style.width") == "100px"


async def test_an_answer_from_the_network_is_waited_for_and_takes_ten_milliseconds(
    page_of_site: Page, site: Site
) -> None:
    site.pages |= {
        "/": "<script>onclick = async () => { const at = Date.now();"
        "document.body.append(await (await fetch('/more')).text(), Date.now() - at) }</script>",
        "/more": "more",
    }
    site.late.add("/more")
    await page_of_site.goto(site.url())
    acting = asyncio.create_task(page_of_site.act(HERE))
    await asyncio.wait([acting], timeout=0.3)
    assert not acting.done()
    site.answer_late.set()
    await acting
    assert (await text(page_of_site)).endswith("more10")


async def test_another_document_is_waited_for(page_of_site: Page, site: Site) -> None:
    site.pages |= {
        "/": "<a href=/next style='position:fixed;inset:0'>next</a>",
        "/next": "<p>arrived<img src=/picture>",
    }
    site.late |= {"/next", "/picture"}
    await page_of_site.goto(site.url())
    acting = asyncio.create_task(page_of_site.act(HERE))
    await asyncio.wait([acting], timeout=0.2)
    site.answer_late.set()
    await acting
    assert await text(page_of_site) == "arrived"
    assert (await look(page_of_site)).address == site.url("/next")
    assert "/picture" in site.asked


@pytest.mark.parametrize(
    "script",
    [
        "setTimeout(() => { location.href = '/next' }, 5)",
        "location.replace('/next')",
        "history.pushState(0, '', '/other'); location.href = '/next'",
        "document.body.innerHTML = '<form action=/next>'; document.forms[0].submit()",
        "document.body.innerHTML = '<a href=\"javascript:void(location.href=`/next`)\">'; document.links[0].click()",
    ],
)
async def test_a_script_may_lead_to_another_document_in_any_way(page_of_site: Page, site: Site, script: str) -> None:
    site.pages |= {"/": f"<script>onclick = () => {{ {script} }}</script>", "/next": "arrived"}
    await page_of_site.goto(site.url())
    await page_of_site.act(HERE)
    assert await text(page_of_site) == "arrived"


@pytest.mark.parametrize(
    "script", ["location.hash = 'there'", "history.pushState(0, '', '#there')", "location.href = 'javascript:1'"]
)
async def test_a_place_in_the_same_document_is_no_other_document(
    page: Page, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "NETWORK_SECONDS", 60.0)  # which would be waited for, were anything expected
    await page.goto(document(f"<p>same</p><script>onclick = () => {{ {script} }}</script>"))
    async with asyncio.timeout(20):
        await page.act(HERE)
    assert await text(page) == "same"


SPINNER = (
    "<style>div { width: 20px; height: 20px; background: red; animation: turn 1s infinite }"
    "@keyframes turn { to { margin-left: 90px } }</style><div></div>"
)


async def test_a_page_that_never_rests_is_left_to_itself_after_a_while(page: Page) -> None:
    await page.goto(document(SPINNER + "<script>onclick = () => { at = Date.now() }</script>"))
    await page.act(HERE)
    gone = await page.evaluate("Date.now() - at")
    assert clock.SETTLING <= gone <= clock.SETTLING + clock.FRAME


async def test_a_page_that_waits_for_ever_for_the_network_is_left_to_itself_with_a_notice(
    page_of_site: Page, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "NETWORK_SECONDS", 0.2)
    site.pages |= {"/": "<script>n = 0; setInterval(() => { n += 1 }, 10); fetch('/never')</script>", "/never": ""}
    site.late.add("/never")
    await page_of_site.goto(site.url())
    await page_of_site.act(Wait(1.0))
    assert await page_of_site.evaluate("n") >= 100
    assert (await look(page_of_site)).notices == ("The page still waits for an answer from the network.",)


async def test_a_document_that_never_comes_is_left_alone_with_a_notice(
    page_of_site: Page, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "NETWORK_SECONDS", 0.2)
    site.pages |= {"/": "<p>here</p><script>onclick = () => { location.href = '/never' }</script>"}
    site.late.add("/never")
    await page_of_site.goto(site.url())
    await page_of_site.act(HERE)
    assert await text(page_of_site) == "here"
    assert "Another document has not come, and is not waited for any more." in (await look(page_of_site)).notices


@pytest.mark.parametrize("endless", ["while (true) {}", "(function f() { Promise.resolve().then(f) })()"])
async def test_a_script_that_does_not_end_is_stopped_with_a_notice(
    page: Page, endless: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "SCRIPT_SECONDS", 0.3)
    await page.goto(document(f"<p>still here</p><script>onclick = () => {{ {endless} }}</script>"))
    await page.act(HERE)
    assert (await look(page)).notices == ("A script of the page that did not end was stopped.",)
    assert await text(page) == "still here"
    assert page.usable


async def test_a_script_that_never_ends_for_good_is_a_failure_of_the_page_and_of_no_other(
    chromium: Chromium, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (clock, patience):
        monkeypatch.setattr(module, "SCRIPT_SECONDS", 0.2)
    monkeypatch.setattr(patience, "LAST_SECONDS", 0.2)
    await page.goto(document("well"))
    async with open_page(chromium, PageOptions(SIZE)) as bad:
        again = "for (let n = 0; n < 99; n++) setInterval(() => { while (true) {} }, 1)"
        await bad.goto(document(f"<script>onclick = () => {{ {again} }}</script>"))
        with pytest.raises(SandboxError):
            await bad.act(HERE)
        assert not bad.usable
    assert await text(page) == "well"


async def test_tasks_without_end_and_without_time_do_not_stop_the_clock(page: Page) -> None:
    await page.goto(
        document(
            "<script>onclick = () => { const {port1, port2} = new MessageChannel();"
            "port1.onmessage = () => port2.postMessage(0); port2.postMessage(0); at = Date.now() }</script>"
        )
    )
    await page.act(HERE)
    assert await page.evaluate("Date.now() - at") > 0
