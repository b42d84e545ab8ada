"""What a mouse does to a page."""

from __future__ import annotations

from typing import Any

import pytest

from agentenv_gui.actions import Button, ButtonDown, ButtonUp, Click, Drag, Element, Move, Point, Scroll
from agentenv_gui.browser.page import Page
from agentenv_gui.surface import ActionError
from tests.gui_browser.site import LOG, document, look, node

pytestmark = pytest.mark.asyncio(loop_scope="session")

FIELD = "<div id=field style='position:fixed;inset:0'></div>"
MOVES = """<script>
  window.seen = [];
  for (const type of ['mousemove', 'mousedown', 'mouseup'])
    addEventListener(type, (event) => seen.push([type, event.clientX, event.clientY, event.buttons, event.ctrlKey]));
</script>"""


async def logged(page: Page) -> list[list[Any]]:
    """What has come in since the last time."""
    found: list[list[Any]] = await page.evaluate("log.splice(0)")
    return found


async def test_a_click_arrives_where_it_is_aimed_at(page: Page) -> None:
    await page.goto(document("<button style='position:fixed;left:100px;top:50px' onclick='n = (window.n ?? 0) + 1'>x"))
    await page.act(Click(Point(105, 55)))
    assert await page.evaluate("n") == 1
    await page.act(Click(Point(50, 50)))
    assert await page.evaluate("n") == 1


@pytest.mark.parametrize(
    ("click", "expected"),
    [
        (Click(Point(9, 9)), ["mousedown 1", "mouseup 1", "click 1"]),
        (
            Click(Point(9, 9), count=2),
            ["mousedown 1", "mouseup 1", "click 1", "mousedown 2", "mouseup 2", "click 2", "dblclick 2"],
        ),
        (Click(Point(9, 9), Button.RIGHT), ["mousedown 1", "contextmenu 0", "mouseup 1"]),
        (Click(Point(9, 9), Button.MIDDLE), ["mousedown 1", "mouseup 1"]),
        (
            Click(Point(9, 9), holding=("Shift",)),
            ["keydown Shift", "mousedown 1", "mouseup 1", "click 1", "keyup Shift"],
        ),
    ],
)
async def test_a_page_is_told_of_a_click_as_people_do_it(page: Page, click: Click, expected: list[str]) -> None:
    await page.goto(document(FIELD + LOG))
    await page.act(click)
    assert [f"{kind} {detail}" for kind, detail in await logged(page)] == expected


async def test_a_triple_click_marks_a_line(page: Page) -> None:
    await page.goto(document("<p>one two three</p><p>four</p>"))
    await page.act(Click(Element((await node(page, "one two three")).id), count=3))
    assert (await page.evaluate("getSelection().toString()")).strip() == "one two three"


async def test_a_click_without_a_place_is_where_the_pointer_is(page: Page) -> None:
    await page.goto(document(FIELD + MOVES))
    await page.act(Move(Point(30, 40)))
    await page.act(Click())
    assert [event[:3] for event in await page.evaluate("seen")] == [
        ["mousemove", 30, 40],
        ["mousemove", 30, 40],
        ["mousedown", 30, 40],
        ["mouseup", 30, 40],
    ]
    assert (await look(page)).pointer == (30, 40)


async def test_a_button_that_is_held_is_seen_by_every_move(page: Page) -> None:
    await page.goto(document(FIELD + MOVES))
    await page.act(ButtonDown(Point(10, 10)))
    await page.act(Move(Point(20, 20)))
    await page.act(ButtonUp(Point(30, 30)))
    seen = await page.evaluate("seen")
    assert ["mousemove", 20, 20, 1, False] in seen
    assert seen[-1] == ["mouseup", 30, 30, 0, False]


async def test_a_drag_goes_along_its_path_with_moves_between(page: Page) -> None:
    await page.goto(document(FIELD + MOVES))
    await page.act(Drag((Point(10, 10), Point(50, 10), Point(50, 90)), holding=("Control",)))
    seen = await page.evaluate("seen")
    places = [(x, y) for kind, x, y, buttons, _ in seen if kind == "mousemove" and buttons == 1]
    assert places == [(20, 10), (30, 10), (40, 10), (50, 10), (50, 30), (50, 50), (50, 70), (50, 90)]
    assert [event[0] for event in seen if event[0] != "mousemove"] == ["mousedown", "mouseup"]
    assert all(control for *_, control in seen)


async def test_what_can_be_carried_is_dropped_where_a_drag_ends(page: Page) -> None:
    await page.goto(
        document(
            "<div draggable=true id=card style='width:50px;height:50px;background:red'"
            " ondragstart=\"event.dataTransfer.setData('text/plain', 'the card')\"></div>"
            "<div style='position:fixed;left:200px;top:0;width:100px;height:100px' ondragover='event.preventDefault()'"
            " ondrop=\"dropped = event.dataTransfer.getData('text/plain')\"></div>"
        )
    )
    await page.act(Drag((Point(20, 20), Point(230, 30))))
    assert await page.evaluate("dropped") == "the card"
    await page.act(Click(Point(20, 20)))  # nothing is carried any more


async def test_a_wheel_scrolls_what_is_below_the_pointer(page: Page) -> None:
    inner = "<div style='height:900px;width:900px'></div>"
    await page.goto(
        document(
            f"<div id=inner style='width:100px;height:100px;overflow:auto'>{inner}</div>"
            "<div style='height:2000px'></div>"
        )
    )
    await page.act(Scroll(down=70, right=30, at=Point(50, 50)))
    await page.act(Scroll(down=120, at=Point(250, 250)))
    assert await page.evaluate("[inner.scrollTop, inner.scrollLeft, scrollY]") == [70, 30, 120]
    await page.act(Scroll(down=-120))
    assert await page.evaluate("scrollY") == 0


async def test_an_element_far_away_is_brought_into_view(page: Page) -> None:
    button = "<div style='height:800px'></div><button onclick='hit = 1'>deep</button>"
    deep = f"<div style='height:120px;overflow:auto'>{button}</div>"
    await page.goto(
        document(f"<style>html {{ scroll-behavior: smooth }}</style><div style='height:2000px'></div>{deep}")
    )
    await page.act(Click(Element((await node(page, "deep")).id)))
    assert await page.evaluate("hit") == 1


async def test_an_element_in_a_frame_or_a_shadow_tree_is_hit(page: Page) -> None:
    await page.goto(
        document(
            "<div style='height:40px'></div><iframe srcdoc=\"<button onclick='parent.hit = 1'>framed</button>\""
            " style='border:5px solid;padding:7px'></iframe><div id=host></div><script>"
            "host.attachShadow({mode: 'open'}).innerHTML = '<button onclick=\"hit = 2\">shadowed</button>'</script>"
        )
    )
    await page.act(Click(Element((await node(page, "framed")).id)))
    assert await page.evaluate("hit") == 1
    await page.act(Click(Element((await node(page, "shadowed")).id)))
    assert await page.evaluate("hit") == 2


@pytest.mark.parametrize("place", [Point(-1, 5), Point(5, -1), Point(400, 5), Point(5, 300), Point(1e9, float("nan"))])
async def test_a_click_outside_of_the_screen_is_refused_and_says_how_large_it_is(page: Page, place: Point) -> None:
    await page.goto(document(FIELD + LOG))
    with pytest.raises(ActionError, match="not on the screen, which is 400 wide and 300 high"):
        await page.act(Click(place))
    with pytest.raises(ActionError, match="not on the screen"):
        await page.act(Drag((Point(5, 5), place)))
    assert await logged(page) == []


async def test_what_cannot_be_aimed_at_is_refused_with_the_reason(page: Page) -> None:
    await page.goto(document("<button id=b>here</button><select><option>first</select>"))
    button, option = await node(page, "here"), await node(page, "first")
    with pytest.raises(ActionError, match="no element 99"):
        await page.act(Click(Element(99)))
    with pytest.raises(ActionError, match="is not shown"):
        await page.act(Click(Element(option.id)))
    await page.evaluate("b.remove()")
    with pytest.raises(ActionError, match="not on the page any more"):
        await page.act(Click(Element(button.id)))
    assert page.usable


async def test_numbers_of_an_earlier_document_name_nothing(page: Page) -> None:
    await page.goto(document("<button>one</button>"))
    old = await node(page, "one")
    await page.goto(document("<button>two</button>"))
    with pytest.raises(ActionError, match="no element 1"):
        await page.act(Click(Element(old.id)))


@pytest.mark.parametrize("action", [Click(Point(1, 1), count=0), Click(Point(1, 1), count=4), Drag((Point(1, 1),))])
async def test_what_no_hand_does_is_refused(page: Page, action: Click | Drag) -> None:
    await page.goto(document(FIELD + LOG))
    with pytest.raises(ActionError):
        await page.act(action)
    assert await logged(page) == []


async def test_the_button_back_goes_back(page: Page) -> None:
    await page.goto(document("first"))
    await page.goto(document("second"))
    await page.act(Click(Point(50, 50), Button.BACK))
    assert await page.evaluate("document.body.innerText") == "first"
