"""A page reaches what it was allowed to, and nothing else."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from agentenv.errors import SandboxError
from agentenv_gui.actions import Click, Point, Wait
from agentenv_gui.browser.chromium import Chromium
from agentenv_gui.browser.page import Page, PageOptions, open_page
from tests.gui_browser.site import SIZE, Site, document, look

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_page_reaches_its_site_and_no_other(page_of_site: Page, site: Site) -> None:
    async with Site() as other:
        site.pages |= {
            "/": "<script>tried = {}; onclick = async () => { for (const url of urls)"
            "tried[url] = await fetch(url, {mode: 'no-cors'}).then(() => true, () => false) }</script>"
        }
        await page_of_site.goto(site.url())
        await page_of_site.evaluate(
            f"urls = ['/own', '{other.url('/x')}', 'http://localhost/', 'https://example.com/', 'file:///etc/hostname']"
        )
        await page_of_site.act(Click(Point(5, 5)))
        tried = await page_of_site.evaluate("tried")
        assert list(tried.values()) == [True, False, False, False, False]
        assert other.asked == []
        told = (await look(page_of_site)).notices
        assert any(other.host in notice and "cannot be reached from here" in notice for notice in told)
        assert any("example.com" in notice for notice in told)


@pytest.mark.parametrize(
    "way",
    [
        "location.href = there",
        "document.body.innerHTML = `<iframe src='${there}'></iframe>`",
        "new Image().src = there",
        "navigator.sendBeacon(there)",
        "new WebSocket(there.replace('http', 'ws'))",
        "new Worker(URL.createObjectURL(new Blob([`fetch('${there}')`])))",
        "fetch(`/lead?to=${there}`)",
        "window.open(there)",
    ],
)
async def test_there_is_no_way_around_it(page_of_site: Page, site: Site, way: str) -> None:
    async with Site() as other:
        site.pages |= {"/": f"<script>onclick = () => {{ {way} }}</script>"}
        site.leads["/lead"] = other.url("/led")
        await page_of_site.goto(site.url())
        await page_of_site.evaluate(f"there = '{other.url('/there')}'")
        await page_of_site.act(Click(Point(5, 5)))
        await page_of_site.act(Wait(0.2))
        assert other.asked == []


async def test_nothing_goes_out_by_the_ways_of_video_calls(page: Page) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.setblocking(False)
        server = f"stun:127.0.0.1:{listening.getsockname()[1]}"
        await page.goto(
            document(
                f"<script>calling = new RTCPeerConnection({{iceServers: [{{urls: '{server}'}}]}});"
                "calling.createDataChannel('x');"
                "calling.createOffer().then((offer) => calling.setLocalDescription(offer))</script>"
            )
        )
        for _ in range(20):
            if await page.evaluate("calling.iceGatheringState") == "complete":
                break
            await page.act(Wait(0.2))
        with pytest.raises(BlockingIOError):
            listening.recv(1)


async def test_a_page_that_was_allowed_nothing_reaches_nothing(page: Page, site: Site) -> None:
    with pytest.raises(SandboxError, match="cannot be loaded"):
        await page.goto(site.url())
    await page.goto(document(f"<img src='{site.url('/picture')}'><p>shown</p>"))
    assert site.asked == []
    assert (await look(page)).notices[-1].endswith("/picture cannot be reached from here.")


async def test_a_link_to_elsewhere_leads_nowhere_and_back_again(page_of_site: Page, site: Site) -> None:
    site.pages |= {"/": "<a href='http://elsewhere.example/' style='position:fixed;inset:0'>away</a>"}
    await page_of_site.goto(site.url())
    await page_of_site.act(Click(Point(5, 5)))
    seen = await look(page_of_site)
    assert seen.notices == ("http://elsewhere.example/ cannot be reached from here.",)
    assert page_of_site.usable
    await page_of_site.goto(site.url())
    assert (await look(page_of_site)).address == site.url()


async def test_a_file_may_be_shown(page: Page, tmp_path: Path) -> None:
    (tmp_path / "part.js").write_text("document.body.append('part')")
    (tmp_path / "page.html").write_text("<body><script src=part.js></script>")
    await page.goto((tmp_path / "page.html").as_uri())
    assert await page.evaluate("document.body.innerText") == "part"
    with pytest.raises(SandboxError, match="ERR_FILE_NOT_FOUND"):
        await page.goto((tmp_path / "none.html").as_uri())


async def test_what_one_page_stores_another_does_not_find(chromium: Chromium, site: Site) -> None:
    site.pages |= {
        "/": "<script>found = [document.cookie, localStorage.length];"
        "document.cookie = 'a=1'; localStorage.a = 1</script>"
    }
    for _ in range(2):
        async with open_page(chromium, PageOptions(SIZE, reachable=(site.host,))) as page:
            await page.goto(site.url())
            assert await page.evaluate("found") == ["", 0]
