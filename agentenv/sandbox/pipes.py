"""The output of an execution on this machine, for backends that start processes themselves."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from agentenv.sandbox.collected import Collected
from agentenv.sandbox.contract import OnOutput, Stream
from agentenv.sandbox.result import Output

_CHUNK = 2**18
_DRAINED = 64
"""Chunks that are read at the end of an execution; what it left running may go on writing for ever."""


class Pipes:
    """The output of one execution: read when there is some, kept up to a limit, counted beyond.

    Args:
        limit: bytes of both streams together. on_limit: told once when they are more.
    """

    def __init__(self, limit: int, on_output: OnOutput | None, on_limit: Callable[[], None]) -> None:
        self._collected = Collected(limit, on_output)
        self._on_limit = on_limit
        self._loop = asyncio.get_running_loop()
        self._reading: dict[Stream, int] = {}
        self._written: list[int] = []
        self._limit_told = False
        try:
            for stream in Stream:
                reading, writing = os.pipe2(os.O_CLOEXEC)
                self._reading[stream] = reading
                self._written.append(writing)
                os.set_blocking(reading, False)
        except OSError:
            self.close()
            raise
        for stream, reading in self._reading.items():
            self._loop.add_reader(reading, self._read, stream)

    def hand_over(self) -> tuple[int, ...]:
        """The writing ends, for standard output and error; they are the caller's now."""
        given, self._written = tuple(self._written), []
        return given

    def outputs(self) -> tuple[Output, Output]:
        """Of standard output and error."""
        return self._collected.outputs()

    def drain(self) -> None:
        """Reads what has been written until now."""
        for stream in list(self._reading):
            for _ in range(_DRAINED):
                if not self._read(stream):
                    break

    def close(self) -> None:
        for reading in self._reading.values():
            self._loop.remove_reader(reading)
            os.close(reading)
        self._reading.clear()
        for writing in self.hand_over():
            os.close(writing)

    def _read(self, stream: Stream) -> bool:
        """Reads once; whether there may be more."""
        reading = self._reading.get(stream)
        if reading is None:
            return False
        try:
            data = os.read(reading, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._loop.remove_reader(reading)
            os.close(self._reading.pop(stream))
            return False
        if not self._collected.add(stream, data) and not self._limit_told:
            self._limit_told = True
            self._on_limit()
        return True
