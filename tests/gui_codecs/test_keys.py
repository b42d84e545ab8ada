"""Names of keys: one table for the W3C's, X's, xdotool's, OpenAI's, pyautogui's and MiniWoB's."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentenv_gui.codecs.contract import DialectError
from agentenv_gui.codecs.keys import Naming, chord, chord_of, chords, key_named, name_of, together

PYAUTOGUI_ON_X11 = (
    "backspace tab enter return shift ctrl alt pause capslock esc escape pgup pgdn pageup pagedown end home left up "
    "right down print prtsc prtscr prntscrn printscreen insert del delete help win winleft winright apps num0 num1 "
    "num2 num3 num4 num5 num6 num7 num8 num9 multiply add separator subtract decimal divide f1 f12 f13 f24 numlock "
    "scrolllock shiftleft shiftright ctrlleft ctrlright altleft altright space"
)
"""What pyautogui can press on X11 (`keyboardMapping`), but for `select` and `execute`."""

OPENAI_GUIDE = {
    "ENTER": "Enter", "RETURN": "Enter", "ESC": "Escape", "ESCAPE": "Escape", "TAB": "Tab", "SPACE": " ",
    "BACKSPACE": "Backspace", "DELETE": "Delete", "DEL": "Delete", "HOME": "Home", "END": "End", "PAGEUP": "PageUp",
    "PAGEDOWN": "PageDown", "UP": "ArrowUp", "DOWN": "ArrowDown", "LEFT": "ArrowLeft", "RIGHT": "ArrowRight",
    "ARROWUP": "ArrowUp", "ARROWDOWN": "ArrowDown", "ARROWLEFT": "ArrowLeft", "ARROWRIGHT": "ArrowRight",
    "CTRL": "Control", "CONTROL": "Control", "SHIFT": "Shift", "OPTION": "Alt", "ALT": "Alt", "META": "Meta",
    "CMD": "Meta", "COMMAND": "Meta",
}  # fmt: skip
"""The names that OpenAI's guide to computer use maps."""

ANTHROPIC_EXAMPLES = {
    "Return": "Enter", "Tab": "Tab", "Escape": "Escape", "Up": "ArrowUp", "Home": "Home", "Page_Up": "PageUp",
    "Page_Down": "PageDown", "Delete": "Delete", "BackSpace": "Backspace", "super": "Meta", "KP_0": "0", "F5": "F5",
}  # fmt: skip

MINIWOB_KEYS = (
    "<Enter> <PageUp> <PageDown> <Backspace> <Delete> <Tab> <Space> <ArrowUp> <ArrowRight> <ArrowDown> <ArrowLeft> "
    "<Numpad0> <Numpad9> <NumpadAdd> <NumpadMultiply> <NumpadSubtract> <NumpadDivide> <NumpadDecimal> <NumpadEnter> "
    "<Shift> <Control> <Alt> <Meta> <Escape> <Insert> <Home> <End> <F1> <F12> <RightShift> <NumpadPageUp>"
)

CHARACTERS = [*string.ascii_letters, *string.digits, *string.punctuation, " "]


def test_every_key_of_pyautogui_and_of_miniwob_is_understood() -> None:
    for name in f"{PYAUTOGUI_ON_X11} {MINIWOB_KEYS}".split():
        assert name_of(key_named(name), Naming.X), name


def test_the_names_in_the_vendors_guides_are_understood() -> None:
    for name, key in (OPENAI_GUIDE | ANTHROPIC_EXAMPLES).items():
        assert key_named(name) == key_named(name.lower()) == key


@pytest.mark.parametrize("naming", Naming)
def test_a_key_that_has_a_name_is_understood_by_it(naming: Naming) -> None:
    named = set()
    for key in [*{key_named(name) for name in [*OPENAI_GUIDE, *PYAUTOGUI_ON_X11.split()]}, *CHARACTERS]:
        try:
            named.add(name_of(key, naming))
        except DialectError:
            continue
        assert key_named(name_of(key, naming)) == key
    assert len(named) > 90


@pytest.mark.parametrize(
    ("key", "keysym"),
    [("Enter", "Return"), ("Control", "Control_L"), ("Meta", "Super_L"), (" ", "space"), ("PageDown", "Page_Down"),
     ("a", "a"), ("A", "A"), ("!", "exclam"), ("€", "U20AC"), ("ContextMenu", "Menu"), ("F24", "F24")],
)  # fmt: skip
def test_a_desktop_gets_the_keysym_of_a_key(key: str, keysym: str) -> None:
    assert name_of(key, Naming.X) == keysym


@pytest.mark.parametrize(
    ("name", "hint"),
    [("Entre", "'Enter'"), ("PAGEDWN", "'PageDown'"), ("Contrl", "'Control'"), ("arrowlef", "'ArrowLeft'"), ("", "")],
)
def test_an_unknown_key_is_an_error_that_names_near_ones(name: str, hint: str) -> None:
    with pytest.raises(DialectError, match=f"there is no key '{name}'.*{hint}"):
        key_named(name)


@settings(max_examples=50)
@given(st.text(max_size=60))
def test_any_text_is_a_key_or_a_dialect_error(name: str) -> None:
    try:
        key = key_named(name)
    except DialectError:
        return
    assert key_named(key) == key
    assert name_of(key, Naming.X)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("ctrl+a", ("Control", "a")),
        ("ctrl+A", ("Control", "a")),
        ("ctrl+shift+Escape", ("Control", "Shift", "Escape")),
        ("Ctrl + S", ("Control", "s")),
        ("shift+A", ("Shift", "A")),
        ("ctrl++", ("Control", "+")),
        ("+", ("+",)),
        (" ", (" ",)),
        ("Control+Plus", ("Control", "+")),
    ],
)
def test_a_chord_stands_between_plus_signs(text: str, keys: tuple[str, ...]) -> None:
    assert chord(text) == keys


def test_xdotool_presses_chords_one_after_the_other() -> None:
    assert chords("Down Down ctrl+s") == (("ArrowDown",), ("ArrowDown",), ("Control", "s"))
    assert chords(" ") == ((" ",),)


@pytest.mark.parametrize("text", ["ctrl+", "+a+", "ctrl+nope", "+".join(["ctrl"] * 11)])
def test_a_chord_with_something_else_in_it_is_an_error(text: str) -> None:
    with pytest.raises(DialectError):
        chord(text)


@settings(max_examples=50)
@given(st.lists(st.sampled_from([*CHARACTERS, "Control", "Shift", "Enter", "€", "F1"]), min_size=1, max_size=5))
def test_keys_come_back_from_a_chord(keys: list[str]) -> None:
    expected = together(keys)
    for naming in (Naming.W3C, Naming.XDOTOOL):
        assert chord(chord_of(expected, naming)) == expected
