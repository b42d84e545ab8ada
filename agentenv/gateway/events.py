"""Server-sent events: cutting a byte stream into them, and writing them."""

from __future__ import annotations

from typing import Any

from agentenv.gateway.wirejson import dumps

DONE = b"[DONE]"


class EventCutter:
    """Collects the bytes of a stream and gives back whole events.

    >>> cutter = EventCutter()
    >>> cutter.feed(b"data: 1\\n\\ndata:"), cutter.feed(b" 2\\n\\n")
    ([b'data: 1'], [b'data: 2'])
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The events that these bytes complete, without the empty line that ends each."""
        data = self._rest + data if self._rest else data
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        *events, self._rest = data.split(b"\n\n")
        return events


def payload(event: bytes) -> bytes | None:
    """The data of an event; `None` for a comment, such as a server's sign of life."""
    if event.startswith(b"data: ") and b"\n" not in event:
        return event[6:]
    lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None


def event(value: Any) -> bytes:
    """An event that carries a JSON value."""
    return b"data: " + dumps(value) + b"\n\n"
