"""What a keyboard does to a page."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentenv_gui.actions import (
    Action,
    Choose,
    Click,
    Element,
    Hold,
    KeyDown,
    KeyUp,
    Move,
    Point,
    Press,
    Scroll,
    TypeText,
)
from agentenv_gui.browser.chromium import Chromium
from agentenv_gui.browser.page import Page, PageOptions, open_page
from agentenv_gui.surface import ActionError
from tests.gui_browser.site import LOG, SIZE, document, look, node

pytestmark = pytest.mark.asyncio(loop_scope="session")

TELL = """<script>
  window.told = [];
  for (const type of ['keydown', 'keyup']) addEventListener(type, (event) => told.push(
    [type, event.key, event.code, event.keyCode, event.shiftKey, event.ctrlKey, event.location, event.repeat]));
</script>"""


async def test_a_text_is_typed_key_by_key(page: Page) -> None:
    await page.goto(document("<input id=i autofocus>" + TELL + LOG))
    await page.act(TypeText("aB!"))
    assert await page.evaluate("i.value") == "aB!"
    assert [event[:4] for event in await page.evaluate("told") if event[0] == "keydown"] == [
        ["keydown", "a", "KeyA", 65],
        ["keydown", "B", "KeyB", 66],
        ["keydown", "!", "Digit1", 49],
    ]


@given(text=st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=12))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_text_arrives_as_it_is(page: Page, text: str) -> None:
    if not await page.evaluate("Boolean(window.area)"):
        await page.goto(document("<textarea id=area></textarea>"))
    await page.evaluate("area.value = '', area.focus()")
    await page.act(TypeText(text))
    assert await page.evaluate("area.value") == text


async def test_a_long_text_is_typed_in_one_go(page: Page) -> None:
    await page.goto(document("<textarea id=area autofocus></textarea>"))
    text = "one line out of many, and rather long\n" * 100
    await page.act(TypeText(text))
    assert await page.evaluate("area.value") == text


async def test_a_line_break_is_the_enter_key(page: Page) -> None:
    await page.goto(
        document("<textarea id=area autofocus></textarea><form onsubmit='sent = 1; return false'><input id=i>")
    )
    await page.act(TypeText("one\r\ntwo\nthree"))
    assert await page.evaluate("area.value") == "one\ntwo\nthree"
    await page.evaluate("i.focus()")
    await page.act(TypeText("x\n"))
    assert await page.evaluate("sent") == 1


async def test_typing_into_an_element_clicks_it_and_can_replace_what_is_there(page: Page) -> None:
    await page.goto(
        document("<input id=i value=old aria-label=field><div id=d contenteditable aria-label=free>old</div>")
    )
    field = Element((await node(page, "field")).id)
    await page.act(TypeText("new", into=field, clear=True))
    assert await page.evaluate("i.value") == "new"
    await page.act(TypeText("er", into=field))
    assert await page.evaluate("i.value") == "newer"
    await page.act(TypeText("", into=field, clear=True))
    assert await page.evaluate("i.value") == ""
    await page.act(TypeText("words", into=Element((await node(page, "free")).id), clear=True))
    assert await page.evaluate("d.innerText") == "words"


async def test_the_keys_of_a_shortcut_are_down_together(page: Page) -> None:
    await page.goto(document("<input id=i value='some text' autofocus>" + TELL))
    await page.act(Press(("Control", "a")))
    assert await page.evaluate("[i.selectionStart, i.selectionEnd]") == [0, 9]
    assert [(event[0], event[1], event[5]) for event in await page.evaluate("told")] == [
        ("keydown", "Control", True),
        ("keydown", "a", True),
        ("keyup", "a", True),
        ("keyup", "Control", False),
    ]
    assert await page.evaluate("i.value") == "some text"


async def test_shift_makes_capitals_of_letters(page: Page) -> None:
    await page.goto(document("<input id=i autofocus>"))
    for action in (KeyDown("Shift"), Press(("a",)), Press(("1",)), KeyUp("Shift"), Press(("a",))):
        await page.act(action)
    assert await page.evaluate("i.value") == "A!a"


@pytest.mark.parametrize(
    ("key", "code", "number", "location"),
    [
        ("Enter", "Enter", 13, 0),
        ("Escape", "Escape", 27, 0),
        ("ArrowLeft", "ArrowLeft", 37, 0),
        ("F5", "F5", 116, 0),
        ("Control", "ControlLeft", 17, 1),
        (" ", "Space", 32, 0),
        (";", "Semicolon", 186, 0),
        ("Delete", "Delete", 46, 0),
    ],
)
async def test_a_key_is_known_by_its_name_its_place_and_its_number(
    page: Page, key: str, code: str, number: int, location: int
) -> None:
    await page.goto(document(TELL))
    await page.act(Press((key,)))
    assert (await page.evaluate("told"))[0][1:4] == [key, code, number]
    assert (await page.evaluate("told"))[0][6] == location


async def test_tab_moves_the_focus_and_the_tree_tells_where_it_is(page: Page) -> None:
    await page.goto(document("<input aria-label=one><input aria-label=two>"))
    await page.act(Press(("Tab",)))
    await page.act(Press(("Tab",)))
    tree = (await look(page)).tree
    assert tree is not None
    assert tree.focused is not None
    focused = tree.node(tree.focused)
    assert focused is not None
    assert focused.name == "two"
    assert "focused" in focused.states


async def test_what_is_held_stays_held_while_other_things_are_done(page: Page) -> None:
    await page.goto(
        document("<script>addEventListener('click', (event) => { control = event.ctrlKey })</script>" + TELL)
    )
    await page.act(KeyDown("Control"))
    await page.act(Click(Point(5, 5)))
    assert await page.evaluate("control") is True
    await page.let_go()
    await page.act(Click(Point(5, 5)))
    assert await page.evaluate("control") is False


async def test_keys_are_held_for_as_long_as_is_said(page: Page) -> None:
    await page.goto(
        document(
            "<script>addEventListener('keydown', () => { at = Date.now() });"
            "addEventListener('keyup', () => { held = Date.now() - at })</script>"
        )
    )
    await page.act(Hold(("ArrowUp",), 1.5))
    assert await page.evaluate("held") == 1500


async def test_pages_do_not_share_a_clipboard(chromium: Chromium) -> None:
    async with open_page(chromium, PageOptions(SIZE)) as one, open_page(chromium, PageOptions(SIZE)) as other:
        for page, text in ((one, "of one"), (other, "of other")):
            await page.goto(document(f"<input id=i value='{text}' autofocus>"))
            await page.act(Press(("Control", "a")))
        await one.act(Press(("Control", "c")))
        await other.act(Press(("Control", "x")))
        assert await other.evaluate("i.value") == ""
        await one.act(Press(("End",)))
        await one.act(Press(("Control", "v")))
        await other.act(Press(("Shift", "Insert")))
        assert await one.evaluate("i.value") == "of oneof one"
        assert await other.evaluate("i.value") == "of other"
    async with open_page(chromium, PageOptions(SIZE)) as later:
        await later.goto(document("<input id=i autofocus>"))
        await later.act(Press(("Control", "v")))
        assert await later.evaluate("i.value") == ""


async def test_what_a_page_puts_into_the_clipboard_is_pasted(page: Page) -> None:
    await page.goto(
        document(
            "<input id=i autofocus><script>addEventListener('copy', (event) => {"
            "event.clipboardData.setData('text/plain', 'made up'); event.preventDefault() });"
            "addEventListener('paste', (event) => { pasted = event.clipboardData.getData('text/plain') })</script>"
        )
    )
    await page.act(Press(("Control", "c")))
    await page.act(Press(("Control", "v")))
    assert await page.evaluate("[i.value, pasted]") == ["made up", "made up"]


SELECT = (
    "<select id=s aria-label=list onchange='changed = s.value'><option>one<option value=2>two &amp; more"
    "<option disabled>three</select>"
)


async def test_an_option_is_chosen_by_what_is_shown_of_it(page: Page) -> None:
    await page.goto(document(SELECT + "<select multiple id=m aria-label=many><option selected>a<option>b</select>"))
    chosen = await node(page, "list")
    await page.act(Choose("Two & more", chosen and Element(chosen.id)))
    assert await page.evaluate("[s.value, changed]") == ["2", "2"]
    await page.act(Choose("b", Element((await node(page, "many")).id)))
    assert await page.evaluate("[...m.selectedOptions].map((one) => one.text)") == ["a", "b"]


async def test_an_option_that_cannot_be_chosen_is_refused_and_the_others_are_told(page: Page) -> None:
    await page.goto(document(SELECT + "<button>no list</button>"))
    list_, button = Element((await node(page, "list")).id), Element((await node(page, "no list")).id)
    with pytest.raises(ActionError, match="no option 'four'; there are 'one', 'two & more', 'three'"):
        await page.act(Choose("four", list_))
    with pytest.raises(ActionError, match="disabled"):
        await page.act(Choose("three", list_))
    with pytest.raises(ActionError, match="no list to choose from"):
        await page.act(Choose("one", button))
    assert await page.evaluate("s.value") == "one"


@pytest.mark.parametrize(
    "action",
    [
        Press(("Enterr",)),
        Press(("Control", "")),
        Press(()),
        KeyDown("Hyper"),
        KeyUp("\x00"),
        Hold(("Nope",), 1.0),
        Hold(("a",), -1.0),
        Hold(("a",), 1e9),
        Click(Point(1, 1), holding=("Shifty",)),
        Scroll(down=5, holding=("Shifty",)),
    ],
)
async def test_an_unknown_key_or_an_endless_while_is_refused_and_nothing_is_done(page: Page, action: Action) -> None:
    await page.goto(document(LOG))
    with pytest.raises(ActionError):
        await page.act(action)
    await page.act(Move(Point(3, 3)))
    assert await page.evaluate("log") == []
