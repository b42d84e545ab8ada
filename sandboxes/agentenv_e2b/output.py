"""The output of one execution."""

from __future__ import annotations

import asyncio

from agentenv.sandbox import OnOutput, Output, Stream


class Collected:
    """Kept up to a limit, counted beyond.

    Attributes:
        flooded: set once there is more than the limit.
    """

    def __init__(self, limit: int, on_output: OnOutput | None) -> None:
        self._left, self._on_output = limit, on_output
        self._kept = {stream: bytearray() for stream in Stream}
        self._dropped = dict.fromkeys(Stream, 0)
        self.flooded = asyncio.Event()

    def add(self, stream: Stream, data: bytes) -> None:
        """A piece of it."""
        kept = data[: self._left]
        self._left -= len(kept)
        self._kept[stream] += kept
        if len(kept) < len(data):
            self._dropped[stream] += len(data) - len(kept)
            self.flooded.set()
        if kept and self._on_output is not None:
            self._on_output(stream, kept)

    def outputs(self) -> tuple[Output, Output]:
        """Standard output and error."""
        out, err = (Output(bytes(self._kept[stream]), self._dropped[stream]) for stream in Stream)
        return out, err
