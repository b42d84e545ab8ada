"""Names of keys: the W3C's, which the vocabulary has, and those of X, xdotool, OpenAI, pyautogui and MiniWoB++.

One table. A name in any of its columns is understood in every dialect, in upper or lower case, because policies mix
them up; each dialect says its own column. A character is its own name.

Sources: the W3C's UI Events KeyboardEvent key Values; X11's keysymdef.h; the helpers for names of keys in OpenAI's
guide to computer use (2026-10); `KEY_NAMES` of pyautogui 0.9.54; `WEBDRIVER_SPECIAL_KEYS` of miniwob 1.1.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum

from agentenv.errors import nearest
from agentenv_gui.codecs.contract import DialectError
from agentenv_gui.codecs.phrases import shortened


class Naming(StrEnum):
    """Who names a key. X's are names of keysyms, for a backend that presses keys there."""

    W3C = "W3C"
    X = "X"
    XDOTOOL = "xdotool"
    OPENAI = "OpenAI"
    PYAUTOGUI = "pyautogui"
    MINIWOB = "MiniWoB++"


_TABLE = """
W3C          X                 xdotool      OpenAI       pyautogui    MiniWoB++
Control      Control_L         ctrl         CTRL         ctrl         <Control>
Shift        Shift_L           shift        SHIFT        shift        <Shift>
Alt          Alt_L             alt          ALT          alt          <Alt>
Meta         Super_L           super        META         win          <Meta>
AltGraph     ISO_Level3_Shift  ISO_Level3_Shift ALTGRAPH -            -
Enter        Return            Return       ENTER        enter        <Enter>
Tab          Tab               Tab          TAB          tab          <Tab>
Escape       Escape            Escape       ESC          esc          <Escape>
Space        space             space        SPACE        space        <Space>
Backspace    BackSpace         BackSpace    BACKSPACE    backspace    <Backspace>
Delete       Delete            Delete       DELETE       delete       <Delete>
Insert       Insert            Insert       INSERT       insert       <Insert>
Home         Home              Home         HOME         home         <Home>
End          End               End          END          end          <End>
PageUp       Page_Up           Page_Up      PAGEUP       pageup       <PageUp>
PageDown     Page_Down         Page_Down    PAGEDOWN     pagedown     <PageDown>
ArrowUp      Up                Up           ARROWUP      up           <ArrowUp>
ArrowDown    Down              Down         ARROWDOWN    down         <ArrowDown>
ArrowLeft    Left              Left         ARROWLEFT    left         <ArrowLeft>
ArrowRight   Right             Right        ARROWRIGHT   right        <ArrowRight>
CapsLock     Caps_Lock         Caps_Lock    CAPSLOCK     capslock     -
NumLock      Num_Lock          Num_Lock     NUMLOCK      numlock      -
ScrollLock   Scroll_Lock       Scroll_Lock  SCROLLLOCK   scrolllock   -
Pause        Pause             Pause        PAUSE        pause        <Pause>
PrintScreen  Print             Print        PRINTSCREEN  printscreen  -
ContextMenu  Menu              Menu         CONTEXTMENU  apps         -
Help         Help              Help         HELP         help         <Help>
Clear        Clear             Clear        CLEAR        clear        <Clear>
"""

_ALSO = {
    "Control": "Control_R ctrlleft ctrlright RightControl",
    "Shift": "Shift_R shiftleft shiftright RightShift",
    "Alt": "Alt_R altleft altright RightAlt option optionleft optionright",
    "Meta": "Super_R Meta_L Meta_R winleft winright RightMeta windows cmd command",
    "Enter": "KP_Enter NumpadEnter",
    " ": "spacebar KP_Space",
    "Delete": "del KP_Delete NumpadDelete",
    "Insert": "ins KP_Insert NumpadInsert",
    "Home": "KP_Home NumpadHome",
    "End": "KP_End NumpadEnd",
    "PageUp": "pgup Prior KP_Page_Up NumpadPageUp",
    "PageDown": "pgdn Next KP_Page_Down NumpadPageDown",
    "ArrowUp": "KP_Up NumpadArrowUp",
    "ArrowDown": "KP_Down NumpadArrowDown",
    "ArrowLeft": "KP_Left NumpadArrowLeft",
    "ArrowRight": "KP_Right NumpadArrowRight",
    "Pause": "Break",
    "PrintScreen": "prtsc prtscr prntscrn",
}
"""Other names that are understood and never said: of the right-hand twin, of the numeric keypad, and short forms."""

_CHARACTERS = {
    "!": "exclam", '"': "quotedbl", "#": "numbersign", "$": "dollar", "%": "percent", "&": "ampersand",
    "'": "apostrophe", "(": "parenleft", ")": "parenright", "*": "asterisk", "+": "plus", ",": "comma", "-": "minus",
    ".": "period", "/": "slash", ":": "colon", ";": "semicolon", "<": "less", "=": "equal", ">": "greater",
    "?": "question", "@": "at", "[": "bracketleft", "\\": "backslash", "]": "bracketright", "^": "asciicircum",
    "_": "underscore", "`": "grave", "{": "braceleft", "|": "bar", "}": "braceright", "~": "asciitilde",
}  # fmt: skip
"""The keysyms of the characters of ASCII that are not their own."""

_KEYPAD = {
    "*": "KP_Multiply multiply NumpadMultiply",
    "+": "KP_Add add NumpadAdd",
    "-": "KP_Subtract subtract NumpadSubtract",
    ".": "KP_Decimal decimal NumpadDecimal",
    "/": "KP_Divide divide NumpadDivide",
    "=": "KP_Equal",
    ",": "KP_Separator separator NumpadComma",
    **{digit: f"KP_{digit} num{digit} Numpad{digit}" for digit in "0123456789"},
}

MODIFIERS = ("Control", "Shift", "Alt", "Meta", "AltGraph")
"""Keys that change what other keys do."""
MOST_KEYS = 10
"""Keys that can be pressed together: there are no more fingers."""


def _read_table() -> dict[str, dict[str, str]]:
    head, *rows = (line.split() for line in _TABLE.split("\n") if line)
    rows += [[f"F{n}", f"F{n}", f"F{n}", f"F{n}", f"f{n}", f"<F{n}>" if n <= 12 else "-"] for n in range(1, 25)]
    return {" " if row[0] == "Space" else row[0]: dict(zip(head, row, strict=True)) for row in rows}


_KEYS = _read_table()


def _folded(name: str) -> str:
    return re.sub(r"[<>_ ]", "", name).lower()


_NAMES = {
    **{_folded(name): key for key, row in _KEYS.items() for name in row.values() if name != "-"},
    **{_folded(name): key for key, names in _ALSO.items() for name in names.split()},
    **{_folded(name): character for character, names in _KEYPAD.items() for name in names.split()},
    **{name: character for character, name in _CHARACTERS.items()},
}
_CONTROL_CHARACTERS = {"\n": "Enter", "\r": "Enter", "\t": "Tab", "\b": "Backspace", "\x1b": "Escape"}


def key_named(name: str) -> str:
    """The key of this name, whoever gave it, as the vocabulary has it.

    >>> key_named("Return"), key_named("CTRL"), key_named("pgdn"), key_named("KP_7"), key_named("U20AC")
    ('Enter', 'Control', 'PageDown', '7', '€')

    Raises:
        DialectError: nobody names a key so.
    """
    if len(name) == 1:
        key = _CONTROL_CHARACTERS.get(name, name if name.isprintable() else "")
    elif re.fullmatch(r"U\+?[0-9A-Fa-f]{4,5}", name):
        key = chr(int(name.lstrip("U+"), 16))
        key = key if key.isprintable() else ""
    else:
        key = _NAMES.get(_folded(name), "")
    if not key:
        hint = nearest(name[:1].upper() + name[1:].lower(), _KEYS) if len(name) <= 30 else ""
        raise DialectError(f"there is no key {shortened(name)}.{hint}")
    return key


def name_of(key: str, naming: Naming) -> str:
    """What a key of the vocabulary is called.

    >>> name_of("Enter", Naming.X), name_of("+", Naming.XDOTOOL), name_of("a", Naming.OPENAI)
    ('Return', 'plus', 'a')

    Raises:
        DialectError: there is no such key, or it has no name there.
    """
    row = _KEYS.get(key)
    if row is not None and row[naming] != "-":
        return row[naming]
    if row is None and len(key) == 1 and key.isprintable():
        if naming in (Naming.X, Naming.XDOTOOL):
            return key if key.isascii() and key.isalnum() else _CHARACTERS.get(key, f"U{ord(key):04X}")
        if naming is Naming.W3C and key == "+":
            return "Plus"  # a plus sign stands between keys
        if key.isascii() or naming is not Naming.PYAUTOGUI:
            return key
    raise DialectError(f"{naming} has no name for the key {shortened(key)}")


def together(names: Iterable[str]) -> tuple[str, ...]:
    """Keys that are pressed together. With Control, Alt or Meta a letter is the key it stands on, whatever its case.

    Raises:
        DialectError: one of them is no key, or there are too many.
    """
    keys = tuple(key_named(name) for name in names)
    if len(keys) > MOST_KEYS:
        raise DialectError(f"at most {MOST_KEYS} keys can be pressed together, not {len(keys)}")
    if not {"Control", "Alt", "Meta"}.isdisjoint(keys):
        keys = tuple(key.lower() if len(key) == 1 and key.isascii() else key for key in keys)
    return keys


def chord(text: str) -> tuple[str, ...]:
    """Keys that are pressed together, between plus signs.

    >>> chord("ctrl+shift+T"), chord("ctrl++"), chord("Return")
    (('Control', 'Shift', 't'), ('Control', '+'), ('Enter',))

    Raises:
        DialectError: one of them is no key.
    """
    text = text if text == " " else re.sub(r"\s*\+\s*", "+", text.strip())
    if text == "+" or text.endswith("++"):
        return together([*filter(None, text[:-1].split("+")), "+"])
    return together(text.split("+"))


def chords(text: str) -> tuple[tuple[str, ...], ...]:
    """Chords one after the other, between spaces: as xdotool takes them.

    Raises:
        DialectError: it names no keys, or one that is none.
    """
    joined = re.sub(r"\s+\+\s+", "+", text.strip())
    return tuple(chord(part) for part in joined.split()) if joined else (chord(text),)


def chord_of(keys: Iterable[str], naming: Naming) -> str:
    """Keys between plus signs.

    Raises:
        DialectError: one of them has no name there.
    """
    return "+".join(name_of(key, naming) for key in keys)
