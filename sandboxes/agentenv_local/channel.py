"""Messages over a socket, for this side: nothing here blocks the event loop."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agentenv_local import wire


@dataclass(slots=True)
class _Sending:
    """What is left of a message, and the descriptors that go with its next byte."""

    data: memoryview
    descriptors: tuple[int, ...]


class Channel:
    """One socket to the zygote, a warden or a session. Made in a running event loop.

    Args:
        on_message: told of each message. on_end: told once when the other side is gone.
    """

    def __init__(
        self, link: socket.socket, on_message: Callable[[wire.Message], None], on_end: Callable[[], None]
    ) -> None:
        link.setblocking(False)
        self.closed = False
        self._link = link
        self._reader = wire.Reader(link)
        self._on_message, self._on_end = on_message, on_end
        self._waiting: collections.deque[_Sending] = collections.deque()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(link, self._read)

    def send(self, message: wire.Message, descriptors: Sequence[int] = ()) -> None:
        """Sends a message, at once or when there is room for it. The descriptors are closed here once they are sent.

        Raises:
            BrokenPipeError: the other side is gone.
        """
        if self.closed:
            _close(descriptors)
            raise BrokenPipeError("the other side is gone")
        self._waiting.append(_Sending(memoryview(wire.encoded(message, len(descriptors))), tuple(descriptors)))
        if len(self._waiting) == 1 and not self._send_first():
            self._loop.add_writer(self._link, self._write)

    def finish(self) -> None:
        """Says that nothing more will come. The other side ends in its own time, and `on_end` tells when it has."""
        if not self.closed:
            with contextlib.suppress(OSError):
                self._link.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Lets go of the socket; the other side notices. `on_end` is not called."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._link)
        self._loop.remove_writer(self._link)
        while self._waiting:
            _close(self._waiting.popleft().descriptors)
        self._reader.close()
        self._link.close()

    def _read(self) -> None:
        try:
            messages = self._reader.receive()
        except (ValueError, RecursionError):  # a session's program can write here too; it is not listened to any more
            messages, self._reader.ended = [], True
        for message, descriptors in messages:
            _close(descriptors)  # nobody on the other side has any to give
            self._on_message(message)
        if self._reader.ended and not self.closed:
            self.close()
            self._on_end()

    def _write(self) -> None:
        while self._waiting:
            if not self._send_first():
                return
        self._loop.remove_writer(self._link)

    def _send_first(self) -> bool:
        """Sends what there is room for of the first message; whether that was all of it."""
        first = self._waiting[0]
        while first.data:
            try:
                sent = wire.send_some(self._link, first.data, first.descriptors)
            except BlockingIOError:
                return False
            except OSError:  # gone; reading tells, and nobody reads the rest
                sent = len(first.data)
            _close(first.descriptors)
            first.data, first.descriptors = first.data[sent:], ()
        self._waiting.popleft()
        return True


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
