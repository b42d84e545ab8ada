"""Reading an HTTP/1.1 answer as its bytes come in (RFC 9112)."""

from __future__ import annotations

from dataclasses import dataclass

from multidict import CIMultiDict

_MOST_HEAD_BYTES = 2**16
_MOST_LINE_BYTES = 2**12
_WITHOUT_BODY = (204, 304)
_HEXADECIMAL = b"0123456789abcdefABCDEF"


class BadReply(ConnectionError):
    """What a server sent is no HTTP answer, or one this side did not ask for."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with all of its body."""

    status: int
    headers: CIMultiDict[str]
    body: bytes


class ReplyReader:
    """One answer: a head, then a body by its length, in chunks, or until the connection ends.

    Attributes:
        keeps_open: whether the server, once the answer is read, takes another request on the connection.
    """

    __slots__ = ("_body", "_buffer", "_chunk", "_headers", "_left", "_status", "keeps_open")

    def __init__(self) -> None:
        self.keeps_open = False
        self._status = 0
        self._headers: CIMultiDict[str] = CIMultiDict()
        self._buffer = bytearray()
        """What has come and is not understood yet: of the head, or of a chunk."""
        self._body = bytearray()
        self._left: int | None = None
        """Bytes of the body to come; `None` for one in chunks or without a stated end."""
        self._chunk: int | None = None
        """Bytes of the chunk at hand; -1 after the last one, where a few more lines may follow."""

    def feed(self, data: bytes) -> Reply | None:
        """Takes bytes in; gives the answer once it is whole.

        Raises:
            BadReply: it is none, or goes on after its end.
        """
        if not self._status:
            self._buffer += data
            if not self._read_head():
                return None
            data = bytes(self._buffer)
            self._buffer.clear()
        if self._left is not None:
            self._body += data
            self._left -= len(data)
            if self._left < 0:
                raise BadReply(f"{-self._left} bytes after the end of the answer")
            return None if self._left else self._whole()
        if not self._in_chunks:
            self._body += data
            return None
        self._buffer += data
        return self._whole() if self._read_chunks() else None

    def end(self) -> Reply | None:
        """The answer whose end was that of the connection; `None` where more should have come."""
        whole = self._status and self._left is None and not self._in_chunks
        return self._whole() if whole else None

    @property
    def _in_chunks(self) -> bool:
        return self._headers.get("Transfer-Encoding", "identity").lower() != "identity"

    def _whole(self) -> Reply:
        return Reply(self._status, self._headers, bytes(self._body))

    def _read_head(self) -> bool:
        """Reads the head, once it is complete, and takes it off the buffer; interim answers (1xx) are passed over."""
        while not self._status:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > _MOST_HEAD_BYTES:
                    raise BadReply("the head of the answer does not end")
                return False
            self._read_lines(self._buffer[:end].decode("latin-1").split("\r\n"))
            del self._buffer[: end + 4]
        return True

    def _read_lines(self, lines: list[str]) -> None:
        version, _, rest = lines[0].partition(" ")
        status = rest[:3]
        if version not in ("HTTP/1.1", "HTTP/1.0") or not status.isdecimal() or len(status) != 3:
            raise BadReply(f"an answer begins with {lines[0][:60]!r}")
        if status[0] == "1":
            return
        headers: CIMultiDict[str] = CIMultiDict()
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip():
                raise BadReply(f"a header reads {line[:60]!r}")
            headers.add(name, value.strip())
        self._status, self._headers = int(status), headers
        said = headers.get("Connection", "").lower()
        self.keeps_open = "keep-alive" in said if version == "HTTP/1.0" else "close" not in said
        self._see_what_follows()

    def _see_what_follows(self) -> None:
        headers = self._headers
        if headers.get("Content-Encoding", "identity").lower() != "identity":
            raise BadReply(f"the answer is encoded ({headers['Content-Encoding']}), which it was not asked to be")
        if self._status in _WITHOUT_BODY:
            self._left = 0
        elif self._in_chunks:
            if headers["Transfer-Encoding"].lower() != "chunked":
                raise BadReply(f"the answer is transferred in {headers['Transfer-Encoding'][:60]!r}")
        elif (length := headers.get("Content-Length")) is not None:
            if not length.isdecimal() or len(set(headers.getall("Content-Length"))) > 1:
                raise BadReply(f"the answer is {length[:60]!r} bytes long")
            self._left = int(length)
        else:
            self.keeps_open = False

    def _read_chunks(self) -> bool:
        """Moves whole chunks from the buffer to the body; says whether the last one has been read."""
        buffer = self._buffer
        while True:
            if self._chunk is None or self._chunk < 0:
                end = buffer.find(b"\r\n")
                if end < 0:
                    if len(buffer) > _MOST_LINE_BYTES:
                        raise BadReply("a line between the chunks does not end")
                    return False
                line = bytes(buffer[:end])
                del buffer[: end + 2]
                if self._chunk is None:
                    self._chunk = _size_of_chunk(line) or -1
                elif not line:
                    if buffer:
                        raise BadReply(f"{len(buffer)} bytes after the end of the answer")
                    return True
                continue
            if len(buffer) < self._chunk + 2:
                return False
            if buffer[self._chunk : self._chunk + 2] != b"\r\n":
                raise BadReply("a chunk is longer than it says")
            self._body += buffer[: self._chunk]
            del buffer[: self._chunk + 2]
            self._chunk = None


def _size_of_chunk(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not digits or digits.strip(_HEXADECIMAL):
        raise BadReply(f"a chunk is {digits[:60]!r} bytes long")
    return int(digits, 16)
