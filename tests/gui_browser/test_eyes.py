"""What a page is seen to consist of."""

from __future__ import annotations

import pytest

from agentenv_gui.actions import Click, Element, Point, Scroll
from agentenv_gui.browser.page import Page
from agentenv_gui.render import tree_lines
from agentenv_gui.seen import Tree, Wants
from tests.gui_browser.site import document, look

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def tree_of(page: Page, body: str) -> Tree:
    await page.goto(document(body))
    tree = (await look(page)).tree
    assert tree is not None
    return tree


async def lines_of(page: Page, body: str) -> list[str]:
    return tree_lines(await tree_of(page, body))


async def test_a_page_is_told_in_the_order_of_reading(page: Page) -> None:
    assert await lines_of(
        page,
        "<h1>Title</h1><p>Some <b>bold</b> text with <a href='#'>a link</a>.</p><button>Go</button>"
        "<ul><li>one<li>two</ul>",
    ) == [
        '[1] heading "Title"',
        '[2] text "Some"',
        '[3] text "bold"',
        '[4] text "text with"',
        '[5] link "a link"',
        '[6] text "."',
        '[7] button "Go"',
        "[8] list",
        "  [9] listitem",
        '    [10] text "one"',
        "  [11] listitem",
        '    [12] text "two"',
    ]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<label>Name <input value=Ann></label>", ['[1] textbox "Name" = "Ann"']),
        ("<label for=i>Name</label><input id=i>", ['[1] textbox "Name" = ""']),
        ("<input placeholder='Your name'>", ['[1] textbox "Your name" = "" hint=Your name']),
        ("<input type=password value=abc aria-label=p>", ['[1] textbox "p" = "•••"']),
        ("<input type=checkbox checked aria-label=c>", ['[1] checkbox "c" checked']),
        ("<label><input type=radio name=r>one</label>", ['[1] radio "one"']),
        ("<input type=submit><input type=button value=x>", ['[1] button "Submit"', '[2] button "x"']),
        ("<input type=range value=30 aria-label=r>", ['[1] slider "r" = "30"']),
        ("<input type=number value=3 disabled aria-label=n>", ['[1] spinbutton "n" = "3" disabled']),
        ("<textarea readonly required aria-label=t>long</textarea>", ['[1] textbox "t" = "long" readonly required']),
        ("<div contenteditable aria-label=e>text</div>", ['[1] textbox "e" = "text"']),
        ("<img alt=Logo src=x><img src=x title=Tip>", ['[1] img "Logo"', '[2] img "Tip" hint=Tip']),
        ("<button><img alt=Search src=x></button>", ['[1] button "Search"', '  [2] img "Search"']),
        ("<button aria-label='Close it'>×</button>", ['[1] button "Close it"']),
        ("<span id=l>Labelled</span><input aria-labelledby=l>", ['[1] text "Labelled"', '[2] textbox "Labelled" = ""']),
        ("<div role=tab aria-selected=true>Tab</div>", ['[1] tab "Tab" selected']),
        ("<div role=switch aria-checked=true>Light</div>", ['[1] switch "Light" checked']),
        ("<button aria-expanded=false>Menu</button>", ['[1] button "Menu" collapsed']),
        ("<details><summary>More</summary>hidden <b>parts</b></details>", ['[1] button "More" collapsed']),
        ("<details open><summary>More</summary>shown</details>", ['[1] button "More" expanded', '[2] text "shown"']),
        ("<progress value=0.5></progress>", ['[1] progressbar = "0.5"']),
        ("<div onclick='1'>clickable</div>", ['[1] generic "clickable"']),
        ("<span style='cursor:pointer'>a <i>hand</i></span>", ['[1] generic "a hand"']),
        ("<div tabindex=0><button>in</button> it</div>", ["[1] generic", '  [2] button "in"', '  [3] text "it"']),
        ("<label style='cursor:pointer'><input type=checkbox hidden>Custom</label>", ['[1] generic "Custom"']),
        ("<div id=box style='width:9px;height:9px;background:red'></div>", ["[1] generic color=rgb(255, 0, 0)"]),
        ("<svg><circle cx=9 cy=9 r=5 fill=blue /></svg>", ["[1] img color=rgb(0, 0, 255)"]),
        ("<svg><text y=20>t</text></svg>", ['[1] text "t" color=rgb(0, 0, 0)']),
        ("<table><tr><th>h</table>", ["[1] table", "  [2] row", "    [3] columnheader", '      [4] text "h"']),
    ],
)
async def test_an_element_is_told_by_what_it_is_what_it_is_called_and_how_it_is(
    page: Page, body: str, expected: list[str]
) -> None:
    assert await lines_of(page, body) == expected


async def test_a_list_that_drops_down_tells_its_options(page: Page) -> None:
    tree = await tree_of(
        page, "<select aria-label=s><option>one<option selected>two<optgroup label=g><option disabled>three</select>"
    )
    assert tree_lines(tree) == [
        '[1] combobox "s" = "two"',
        '  [2] option "one"',
        '  [3] option "two" selected',
        '  [4] group "g"',
        '    [5] option "three" disabled',
    ]
    assert [node.box is None for node in tree.nodes] == [False, True, True, True, True]


@pytest.mark.parametrize(
    "hidden",
    [
        "<p style='display:none'>no</p>",
        "<p style='visibility:hidden'>no</p>",
        "<p hidden>no</p>",
        "<script>no</script><style>no{}</style><template>no</template><noscript>no</noscript>",
        "<div style='content-visibility:hidden'>no</div>",
        "<p> &nbsp; \n</p>",
    ],
)
async def test_what_is_not_shown_is_not_told(page: Page, hidden: str) -> None:
    assert await lines_of(page, hidden + "<p>yes</p>") == ['[1] text "yes"']


async def test_what_is_shown_inside_of_what_is_not_is_told(page: Page) -> None:
    assert await lines_of(
        page,
        "<div style='display:contents'><b>a</b></div>"
        "<div style='visibility:hidden'>no<b style='visibility:visible'>b</b></div>",
    ) == ['[1] text "a"', '[2] text "b"']


async def test_frames_and_shadow_trees_are_part_of_the_page(page: Page) -> None:
    tree = await tree_of(
        page,
        "<iframe srcdoc='<body style=margin:0><button>framed</button>'"
        " style='border:5px solid;padding:7px;margin:20px'></iframe>"
        "<div id=host><b slot=s>slotted</b></div><script>host.attachShadow({mode: 'open'})"
        ".innerHTML = '<button>shadowed</button><slot name=s></slot>'</script>",
    )
    assert tree_lines(tree) == [
        "[1] iframe",
        '  [2] button "framed"',
        '[3] button "shadowed"',
        '[4] text "slotted"',
    ]
    box = tree.nodes[1].box
    assert box is not None
    assert (box.left, box.top) == (32, 32)


async def test_boxes_are_what_can_be_seen_on_the_screen(page: Page) -> None:
    body = (
        "<button style='position:absolute;left:10px;top:20px;width:50px;height:30px'>whole</button>"
        "<button style='position:absolute;left:380px;top:20px;width:50px;height:30px'>half</button>"
        "<div style='position:absolute;top:100px;height:50px;overflow:auto'>"
        "<button style='display:block;height:80px'>cut</button><button>below</button></div>"
        "<button style='position:absolute;top:1000px;height:30px'>far</button>"
    )
    boxes = {node.name: node.box for node in (await tree_of(page, body)).nodes}
    whole, half, cut = boxes["whole"], boxes["half"], boxes["cut"]
    assert whole is not None
    assert (whole.left, whole.top, whole.width, whole.height) == (10, 20, 50, 30)
    assert half is not None
    assert (half.left, half.width) == (380, 20)
    assert cut is not None
    assert (cut.top, cut.height) == (100, 50)
    assert boxes["below"] is None
    assert boxes["far"] is None
    await page.act(Scroll(down=900, at=Point(300, 200)))
    tree = (await look(page)).tree
    assert tree is not None
    far = next(node for node in tree.nodes if node.name == "far").box
    assert far is not None
    assert far.top == 1000 - await page.evaluate("scrollY")


async def test_what_goes_on_over_several_lines_is_aimed_at_where_most_of_it_is(page: Page) -> None:
    tree = await tree_of(
        page,
        "<p style='width:200px'>some words before "
        "<a href='#' onclick='hit = 1'>a link that is long enough to go over lines</a></p>",
    )
    link = next(node for node in tree.nodes if node.role == "link")
    await page.act(Click(Element(link.id)))
    assert await page.evaluate("hit") == 1


async def test_the_same_page_is_told_in_the_same_way(page: Page) -> None:
    body = "<main><h2>x</h2><input><select><option>1</select></main>" * 3
    first = await tree_of(page, body)
    assert (await look(page)).tree == first
    assert await tree_of(page, body) == first


async def test_title_and_address_and_nothing_else_are_told_where_no_tree_is_wanted(page: Page) -> None:
    await page.goto(document("<title>A title</title>x"))
    seen = await page.see(Wants(screenshot=False, tree=False, focus=False))
    assert (seen.tree, seen.screenshot, seen.title, seen.pointer) == (None, None, "A title", (0, 0))
    assert seen.address.startswith("data:text/html")


async def test_a_page_without_end_is_told_in_part(page: Page) -> None:
    tree = await tree_of(page, "<script>document.body.innerHTML = '<b>x</b> '.repeat(6000)</script>")
    assert len(tree.nodes) == 5000
