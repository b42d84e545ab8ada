"""Messages between this process, the zygote and the wardens: JSON with a length before it, and file descriptors."""

from __future__ import annotations

import array
import collections
import json
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any

Message = dict[str, Any]

_LENGTH = struct.Struct("=IB")
_MOST_BYTES = 2**26
_MOST_DESCRIPTORS = 8
_CHUNK = 2**18


def encoded(message: Message, descriptors: int = 0) -> bytes:
    """The bytes of a message that so many descriptors go with."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return _LENGTH.pack(len(body), descriptors) + body


def send_some(link: socket.socket, data: bytes | memoryview, descriptors: Sequence[int] = ()) -> int:
    """Sends as much as there is room for; the descriptors go with the first byte."""
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    return link.sendmsg([data], ancillary)


def send(link: socket.socket, message: Message, descriptors: Sequence[int] = ()) -> None:
    """Sends all of a message over a blocking socket."""
    data = memoryview(encoded(message, len(descriptors)))
    sent = send_some(link, data, descriptors)
    while sent < len(data):
        sent += link.send(data[sent:])


class Reader:
    """Takes messages out of what arrives on a socket."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._bytes = bytearray()
        self._descriptors: collections.deque[int] = collections.deque()
        self.ended = False
        """Whether the other side is gone."""

    def receive(self) -> list[tuple[Message, tuple[int, ...]]]:
        """The messages that are whole after reading once. The descriptors are the caller's to close.

        Raises:
            ValueError: what came is no message.
        """
        try:
            data, ancillary, _, _ = self._link.recvmsg(_CHUNK, socket.CMSG_SPACE(4 * _MOST_DESCRIPTORS))
        except (BlockingIOError, InterruptedError):
            return []
        except ConnectionError:
            data, ancillary = b"", []
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers = array.array("i", content[: len(content) - len(content) % 4])
                for number in numbers:
                    os.set_inheritable(number, False)
                    self._descriptors.append(number)
        self.ended = self.ended or not data
        self._bytes += data
        return list(self._whole())

    def close(self) -> None:
        """Closes the descriptors that belong to no whole message."""
        while self._descriptors:
            os.close(self._descriptors.popleft())

    def _whole(self) -> Any:
        while len(self._bytes) >= _LENGTH.size:
            length, descriptors = _LENGTH.unpack_from(self._bytes)
            if length > _MOST_BYTES or descriptors > _MOST_DESCRIPTORS:
                raise ValueError("what came over the socket is no message")
            end = _LENGTH.size + length
            if len(self._bytes) < end or len(self._descriptors) < descriptors:
                return
            message = json.loads(self._bytes[_LENGTH.size : end])
            if not isinstance(message, dict):
                raise ValueError("what came over the socket is no message")
            del self._bytes[:end]
            yield message, tuple(self._descriptors.popleft() for _ in range(descriptors))
