"""Screenshots of a page, of a part of it, and with marks."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from agentenv.errors import SandboxError
from agentenv_gui.actions import Zoom
from agentenv_gui.browser.chromium import Chromium
from agentenv_gui.browser.page import Page, PageOptions, open_page
from agentenv_gui.browser.pictures import png_of
from agentenv_gui.marks import COLOURS, innermost, marked
from agentenv_gui.seen import Box, Node, Screenshot, Size, Tree, Wants
from tests.gui_browser.site import PICTURE, SIZE, document

pytestmark = pytest.mark.asyncio(loop_scope="session")

SQUARES = (
    "<div style='position:fixed;left:100px;top:50px;width:40px;height:20px;background:#ff0000'></div>"
    "<div style='position:fixed;left:120px;top:60px;width:20px;height:10px;background:#0000ff'></div>"
)


def opened(screenshot: Screenshot | None) -> Image.Image:
    assert screenshot is not None
    image = Image.open(io.BytesIO(screenshot.png)).convert("RGB")
    assert (screenshot.size.width, screenshot.size.height) == image.size
    return image


async def test_a_picture_shows_the_screen(page: Page) -> None:
    await page.goto(document(SQUARES))
    seen = await page.see(PICTURE)
    image = opened(seen.screenshot)
    assert image.size == (400, 300)
    assert [image.getpixel(place) for place in ((99, 55), (101, 51), (130, 65))] == [
        (255, 255, 255),
        (255, 0, 0),
        (0, 0, 255),
    ]
    assert seen.screenshot is not None
    assert seen.screenshot.scale == 1.0
    assert seen.screenshot.zoomed is None


async def test_a_picture_shows_what_is_there_now(page: Page) -> None:
    await page.goto(document(SQUARES))
    await page.see(PICTURE)
    await page.evaluate("document.body.style.background = '#00ff00'")
    assert opened((await page.see(PICTURE)).screenshot).getpixel((5, 5)) == (0, 255, 0)


async def test_a_page_can_be_drawn_at_another_scale(chromium: Chromium) -> None:
    async with open_page(chromium, PageOptions(SIZE, scale=2.0)) as page:
        await page.goto(document(SQUARES))
        screenshot = (await page.see(PICTURE)).screenshot
        image = opened(screenshot)
        assert image.size == (800, 600)
        assert image.getpixel((201, 101)) == (255, 0, 0)
        assert screenshot is not None
        assert screenshot.scale == 2.0
        assert await page.evaluate("[innerWidth, devicePixelRatio]") == [400, 2]


async def test_a_part_of_the_screen_is_shown_larger_and_the_page_does_not_notice(page: Page) -> None:
    await page.goto(
        document(SQUARES + "<div style='height:2000px'></div><script>onresize = onscroll = () => { seen = 1 }</script>")
    )
    await page.evaluate("void scrollTo(0, 500)")
    await page.run_clock(0.1)
    await page.evaluate("window.seen = 0")
    before = opened((await page.see(PICTURE)).screenshot).tobytes()
    screenshot = (await page.see(PICTURE, Zoom(110, 50, 150, 80))).screenshot
    image = opened(screenshot)
    assert screenshot is not None
    assert screenshot.zoomed == Box(110, 50, 40, 30)
    assert screenshot.scale == 8.0
    assert image.size == (320, 240)
    assert image.getpixel((4, 4)) == (255, 0, 0)
    assert image.getpixel((84, 84)) == (0, 0, 255)
    assert image.getpixel((318, 238)) == (255, 255, 255)
    assert opened((await page.see(PICTURE)).screenshot).tobytes() == before
    await page.run_clock(0.1)
    assert await page.evaluate("[innerWidth, innerHeight, devicePixelRatio, scrollY, seen]") == [400, 300, 1, 500, 0]


@pytest.mark.parametrize(
    ("zoom", "shown"),
    [
        (Zoom(10, 10, 10, 20), Box(10, 10, 1, 10)),
        (Zoom(50, 40, 20, 10), Box(20, 10, 30, 30)),
        (Zoom(400, 0, 500, 50), Box(399, 0, 1, 50)),
        (Zoom(-9, -9, 0, 0), Box(0, 0, 1, 1)),
    ],
)
async def test_a_zoom_into_nothing_shows_what_is_next_to_it(page: Page, zoom: Zoom, shown: Box) -> None:
    await page.goto(document(SQUARES))
    screenshot = (await page.see(PICTURE, zoom)).screenshot
    assert screenshot is not None
    assert screenshot.zoomed == shown
    opened(screenshot)


async def test_a_zoom_beyond_the_edge_shows_what_is_there(page: Page) -> None:
    await page.goto(document(SQUARES))
    screenshot = (await page.see(PICTURE, Zoom(300, 200, 900, 900))).screenshot
    assert screenshot is not None
    assert screenshot.zoomed == Box(300, 200, 100, 100)
    assert opened(screenshot).size == (300, 300)


async def test_a_picture_that_is_none_is_a_failure_of_the_browser() -> None:
    file = io.BytesIO()
    Image.new("RGB", (3, 2)).save(file, "PNG")
    whole = file.getvalue()
    assert png_of(base64.b64encode(whole).decode()) == whole
    for broken in (b"", whole[:-1], whole[1:], whole[:50], b"GIF89a" + whole):
        with pytest.raises(SandboxError, match=f"{len(broken)} bytes"):
            png_of(base64.b64encode(broken).decode())
    with pytest.raises(SandboxError, match="no base64"):
        png_of("not base64!")


async def test_marks_name_what_a_page_consists_of(page: Page) -> None:
    await page.goto(document("<button style='position:fixed;left:100px;top:100px;width:80px;height:40px'>x</button>"))
    seen = await page.see(Wants(marks=True))
    assert seen.tree is not None
    assert [node.name for node in seen.tree.nodes] == ["x"]
    colour = tuple(bytes.fromhex(COLOURS[1][1:]))
    assert opened(seen.screenshot).getpixel((100, 120)) == colour
    assert opened((await page.see(Wants())).screenshot).getpixel((100, 120)) != colour


def blank(width: int, height: int, scale: float = 1.0, zoomed: Box | None = None) -> Screenshot:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(file, "PNG")
    return Screenshot(file.getvalue(), Size(width, height), scale, zoomed)


async def test_marks_are_on_what_holds_nothing_else_and_is_shown() -> None:
    nodes = (
        Node(1, "list", box=Box(0, 0, 90, 90)),
        Node(2, "listitem", box=Box(0, 0, 90, 20), depth=1),
        Node(3, "button", depth=1),
        Node(4, "button", box=Box(5, 50, 10, 10)),
    )
    assert [node.id for node in innermost(Tree(nodes))] == [2, 4]
    assert innermost(Tree()) == []


async def test_marks_follow_scale_and_zoom_and_may_reach_over_the_edge() -> None:
    tree = Tree((Node(7, "button", box=Box(10, 10, 10, 10)),))
    colour = tuple(bytes.fromhex(COLOURS[7][1:]))
    assert opened(await marked(blank(100, 100, 2.0), tree)).getpixel((20, 39)) == colour
    assert opened(await marked(blank(100, 100, 5.0, Box(8, 8, 20, 20)), tree)).getpixel((10, 59)) == colour
    far = Tree((Node(1, "a", box=Box(-50, -50, 500, 500)), Node(12345, "b", box=Box(0, 0, 0.2, 0.2))))
    assert opened(await marked(blank(100, 100), far)).size == (100, 100)
