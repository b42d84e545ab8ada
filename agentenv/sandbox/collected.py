"""What an execution has written so far."""

from __future__ import annotations

from agentenv.sandbox.contract import OnOutput, Stream
from agentenv.sandbox.result import Output


class Collected:
    """Output kept up to a limit, and counted beyond.

    Args:
        limit: bytes of both streams together. on_output: told of each piece that is kept.
    """

    def __init__(self, limit: int, on_output: OnOutput | None) -> None:
        self._left = limit
        self._on_output = on_output
        self._kept = {stream: bytearray() for stream in Stream}
        self._dropped = dict.fromkeys(Stream, 0)

    def add(self, stream: Stream, data: bytes) -> bool:
        """Whether there was room for all of it."""
        kept = data[: self._left]
        self._left -= len(kept)
        self._kept[stream] += kept
        self._dropped[stream] += len(data) - len(kept)
        if kept and self._on_output is not None:
            self._on_output(stream, kept)
        return len(kept) == len(data)

    def outputs(self) -> tuple[Output, Output]:
        """Of standard output and error."""
        out, err = (Output(bytes(self._kept[stream]), self._dropped[stream]) for stream in Stream)
        return out, err
