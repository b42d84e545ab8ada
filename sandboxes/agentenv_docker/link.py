"""The connection to the agent in a container: the engine's attached stream, and the agent's messages in it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any

Header = Mapping[str, Any]

_LENGTHS = struct.Struct(">II")
_FRAME = struct.Struct(">BxxxI")
"""What the engine puts before each piece of output: which stream, and how much."""
_OUTPUT = 1
_SEND_SECONDS = 60.0
_LAST_WORDS = 4_000


class Link:
    """Messages to and from one container.

    Args:
        on_message: told of each message. on_end: told once when the container has ended.
    """

    def __init__(self, on_message: Callable[[Header, bytes], None], on_end: Callable[[], None]) -> None:
        self._on_message, self._on_end = on_message, on_end
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None
        self._words = bytearray()

    @property
    def last_words(self) -> str:
        """What the container has written to its standard error: why its first process could not go on."""
        return self._words.decode("utf-8", "replace").strip()

    async def open(self, stream: socket.socket) -> None:
        """Takes over an attached stream."""
        stream.setblocking(False)
        reader, self._writer = await asyncio.open_connection(sock=stream)
        self._listening = asyncio.get_running_loop().create_task(self._listen(reader), name="agentenv-docker-link")

    async def send(self, header: Header, payload: bytes = b"") -> None:
        """Sends a message.

        Raises:
            BrokenPipeError: the container is gone, or has not listened for a minute.
        """
        head = json.dumps(header).encode()
        try:
            if self._writer is None:
                raise BrokenPipeError
            self._writer.write(_LENGTHS.pack(len(head), len(payload)) + head + payload)
            async with asyncio.timeout(_SEND_SECONDS):
                await self._writer.drain()
        except (OSError, TimeoutError):
            raise BrokenPipeError("the container is gone") from None

    def post(self, header: Header) -> None:
        """Sends a short message without waiting for room; nothing happens if the container is gone."""
        if self._writer is not None and not self._writer.is_closing():
            head = json.dumps(header).encode()
            self._writer.write(_LENGTHS.pack(len(head), 0) + head)

    def finish(self) -> None:
        """Says that nothing more will come: the agent ends, and with it the container."""
        if self._writer is not None and self._writer.can_write_eof():
            with contextlib.suppress(OSError):
                self._writer.write_eof()

    async def close(self) -> None:
        """Lets go of the stream. `on_end` is not called any more."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])
        if self._writer is not None:
            self._writer.close()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        buffer = bytearray()
        try:
            while True:
                which, size = _FRAME.unpack(await reader.readexactly(_FRAME.size))
                piece = await reader.readexactly(size)
                if which == _OUTPUT:
                    buffer += piece
                    self._take(buffer)
                else:
                    self._words = (self._words + piece)[-_LAST_WORDS:]
        except (asyncio.IncompleteReadError, OSError):
            self._on_end()

    def _take(self, buffer: bytearray) -> None:
        """The whole messages of what has come."""
        start = 0
        while len(buffer) - start >= _LENGTHS.size:
            head, payload = _LENGTHS.unpack_from(buffer, start)
            body = start + _LENGTHS.size + head
            if len(buffer) < body + payload:
                break
            header = json.loads(buffer[start + _LENGTHS.size : body])
            self._on_message(header, bytes(buffer[body : body + payload]))
            start = body + payload
        del buffer[:start]
