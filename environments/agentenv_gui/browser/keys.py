"""Keys of a US keyboard, as the DevTools protocol wants them."""

from __future__ import annotations

from dataclasses import dataclass

from agentenv.errors import nearest
from agentenv_gui.surface import ActionError

MODIFIERS = {"Alt": 1, "Control": 2, "Meta": 4, "Shift": 8}
"""Keys that change what others do, and the protocol's numbers for them."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key.

    Attributes:
        key, code: as of the W3C's `KeyboardEvent`. number: its virtual key code on Windows.
        text: what it types, if it types. location: as of the W3C's `KeyboardEvent`.
    """

    key: str
    code: str
    number: int
    text: str = ""
    location: int = 0

    @property
    def parameters(self) -> dict[str, str | int]:
        """Of `Input.dispatchKeyEvent`."""
        told: dict[str, str | int] = {"key": self.key, "code": self.code, "windowsVirtualKeyCode": self.number}
        return {**told, "location": self.location} if self.location else told


_NAMED = {
    "Alt": ("AltLeft", 18), "AltGraph": ("AltRight", 225), "ArrowDown": ("ArrowDown", 40),
    "ArrowLeft": ("ArrowLeft", 37), "ArrowRight": ("ArrowRight", 39), "ArrowUp": ("ArrowUp", 38),
    "Backspace": ("Backspace", 8), "CapsLock": ("CapsLock", 20), "Clear": ("NumLock", 12),
    "ContextMenu": ("ContextMenu", 93), "Control": ("ControlLeft", 17), "Delete": ("Delete", 46), "End": ("End", 35),
    "Escape": ("Escape", 27), "Help": ("Help", 47), "Home": ("Home", 36), "Insert": ("Insert", 45),
    "Meta": ("MetaLeft", 91), "NumLock": ("NumLock", 144), "PageDown": ("PageDown", 34), "PageUp": ("PageUp", 33),
    "Pause": ("Pause", 19), "PrintScreen": ("PrintScreen", 44), "ScrollLock": ("ScrollLock", 145),
    "Shift": ("ShiftLeft", 16), "Tab": ("Tab", 9),
    **{f"F{n}": (f"F{n}", 111 + n) for n in range(1, 25)},
}  # fmt: skip
_PAIRS = {
    "Backquote": ("`~", 192), "Minus": ("-_", 189), "Equal": ("=+", 187), "BracketLeft": ("[{", 219),
    "BracketRight": ("]}", 221), "Backslash": ("\\|", 220), "Semicolon": (";:", 186), "Quote": ("'\"", 222),
    "Comma": (",<", 188), "Period": (".>", 190), "Slash": ("/?", 191),
    **{f"Digit{n}": (f"{n}{shifted}", 48 + n) for n, shifted in enumerate(")!@#$%^&*(")},
    **{f"Key{letter}": (f"{letter.lower()}{letter}", ord(letter)) for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"},
}  # fmt: skip

_LEFT = {"Alt", "Control", "Meta", "Shift"}
_KEYS = {
    **{name: Key(name, code, number, location=int(name in _LEFT)) for name, (code, number) in _NAMED.items()},
    **{text: Key(text, code, number, text) for code, (pair, number) in _PAIRS.items() for text in pair},
    "Enter": Key("Enter", "Enter", 13, "\r"),
    " ": Key(" ", "Space", 32, " "),
}
_SHIFTED = {pair[0]: pair[1] for pair, _ in _PAIRS.values()}


def key_of(name: str, *, shifted: bool = False) -> Key:
    """The key of this name: the W3C's, or the character that it types.

    Args:
        shifted: whether Shift is held down.

    Raises:
        ActionError: there is none.

    >>> key_of("Enter")
    Key(key='Enter', code='Enter', number=13, text='\\r', location=0)
    >>> key_of("a", shifted=True).text, key_of("é").text
    ('A', 'é')
    """
    if (known := _KEYS.get(_SHIFTED.get(name, name) if shifted else name)) is not None:
        return known
    if len(name) == 1 and name.isprintable():  # not on this keyboard, but on others
        return Key(name, "", 0, name)
    raise ActionError(f"there is no key {name!r}.{nearest(name, _KEYS)}")


def typed(character: str) -> Key | None:
    """The key that types this character, if one does; an Enter for a line break."""
    return _KEYS.get({"\n": "Enter", "\t": "Tab"}.get(character, character))
