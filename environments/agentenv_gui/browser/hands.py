"""The mouse and the keyboard of a page: what is held down, and the messages that the browser wants."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from agentenv_gui.actions import Button
from agentenv_gui.browser.cdp import Answer, Session
from agentenv_gui.browser.keys import MODIFIERS, Key, key_of, typed

MOST_TYPED = 2_000
"""Characters of a text that are typed one by one."""

_BITS = {Button.LEFT: 1, Button.RIGHT: 2, Button.MIDDLE: 4, Button.BACK: 8, Button.FORWARD: 16}


class Hands:
    """Sends input to a page, without waiting for what comes of it: the last answer says that all is done.

    Attributes:
        pointer: where the mouse is, in pixels. buttons, keys: what is held down.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.pointer = (0.0, 0.0)
        self.buttons: set[Button] = set()
        self.keys: list[str] = []

    def move(self, x: float, y: float) -> Answer:
        self.pointer = (x, y)
        held = next(iter(sorted(self.buttons)), None)
        return self._mouse("mouseMoved", button=held.value if held else "none")

    def flush(self) -> Answer:
        """Has the page take note of the mouse now. Moves wait for the next frame, unless something comes after them.

        This is the one thing that can come and is nothing: a character that is none. `inside/room.js` keeps it from the
        page.
        """
        return self._session.post("Input.dispatchKeyEvent", {"type": "char", "modifiers": self._modifiers})

    def button_down(self, button: Button, count: int = 1) -> Answer:
        self.buttons.add(button)
        return self._mouse("mousePressed", button=button.value, clickCount=count)

    def button_up(self, button: Button, count: int = 1) -> Answer:
        self.buttons.discard(button)
        return self._mouse("mouseReleased", button=button.value, clickCount=count)

    def wheel(self, right: float, down: float) -> Answer:
        return self._mouse("mouseWheel", deltaX=right, deltaY=down)

    def drag_event(self, kind: str, data: dict[str, Any]) -> Answer:
        """A step of dragging something that the browser carries ("HTML5 drag and drop")."""
        x, y = self.pointer
        params = {"type": kind, "x": x, "y": y, "data": data, "modifiers": self._modifiers}
        return self._session.post("Input.dispatchDragEvent", params)

    def key_down(self, name: str) -> Answer:
        """Presses a key; again, if it is down already. Raises `ActionError` where there is no such key."""
        key = key_of(name, shifted="Shift" in self.keys)
        if name not in self.keys:
            self.keys.append(name)
        return self._key_down(key)

    def key_up(self, name: str) -> Answer:
        key = key_of(name, shifted="Shift" in self.keys)
        if name in self.keys:
            self.keys.remove(name)
        return self._session.post("Input.dispatchKeyEvent", self._key("keyUp", key))

    def type(self, text: str) -> Iterator[Answer]:
        """Types a text, each part when it is asked for: by keys, or as from elsewhere where there are none for it.

        A very long text is typed line by line.
        """
        text = text.replace("\r\n", "\n")
        parts = text if len(text) <= MOST_TYPED else re.split("(\n)", text)
        for part in parts:
            if (key := typed(part)) is not None:
                self._key_down(key)
                yield self._session.post("Input.dispatchKeyEvent", self._key("keyUp", key))
            elif part:
                yield self._session.post("Input.insertText", {"text": part})

    def let_go(self) -> Answer | None:
        """Lets go of whatever is held down."""
        last = None
        for button in sorted(self.buttons):
            last = self.button_up(button)
        for name in reversed(tuple(self.keys)):
            last = self.key_up(name)
        return last

    @property
    def _modifiers(self) -> int:
        return sum(MODIFIERS[name] for name in self.keys if name in MODIFIERS)

    def _key_down(self, key: Key) -> Answer:
        types = key.text and not self._modifiers & ~MODIFIERS["Shift"]
        params = self._key("keyDown" if types else "rawKeyDown", key)
        return self._session.post("Input.dispatchKeyEvent", {**params, "text": key.text} if types else params)

    def _key(self, kind: str, key: Key) -> dict[str, Any]:
        return {"type": kind, "modifiers": self._modifiers, **key.parameters}

    def _mouse(self, kind: str, **more: Any) -> Answer:
        x, y = self.pointer
        held = sum(_BITS[button] for button in self.buttons)
        params = {"type": kind, "x": x, "y": y, "buttons": held, "modifiers": self._modifiers, **more}
        return self._session.post("Input.dispatchMouseEvent", params)
