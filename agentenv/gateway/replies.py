"""Reading an HTTP/1.1 answer as its bytes come in (RFC 9112). httptools, node's parser, reads; this adds the limits."""

from __future__ import annotations

from dataclasses import dataclass

import httptools
from multidict import CIMultiDict

_MOST_BYTES_WITHOUT_BODY = 2**16
"""That a server may send before the body, between its chunks, or after it: more than any head or trailer needs."""


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

    __slots__ = ("_beyond", "_body", "_complete", "_head_read", "_headers", "_parser", "_without_body", "keeps_open")

    def __init__(self) -> None:
        self.keeps_open = False
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._headers: CIMultiDict[str] = CIMultiDict()
        self._body: list[bytes] = []
        self._without_body = 0
        """Bytes that came since a part of the body did."""
        self._head_read = self._complete = self._beyond = False

    def feed(self, data: bytes) -> Reply | None:
        """Takes bytes in; gives the answer once it is whole.

        Raises:
            BadReply: it is none, or goes on after its end.
        """
        assert self._parser is not None
        self._without_body += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            raise BadReply("the server wants to speak another protocol") from error
        except httptools.HttpParserError as error:
            raise BadReply(f"what came is no HTTP answer: {error}") from error
        self._see_what_came()
        return self._whole() if self._complete else None

    def end(self) -> Reply | None:
        """The answer whose end was that of the connection; `None` where more should have come."""
        whole = self._head_read and "Content-Length" not in self._headers and "Transfer-Encoding" not in self._headers
        return self._whole() if whole else None

    def _see_what_came(self) -> None:
        if self._beyond:
            raise BadReply("something follows after the end of the answer")
        if self._without_body > _MOST_BYTES_WITHOUT_BODY:
            raise BadReply("what surrounds the body of the answer does not end")
        if not self._head_read:
            return
        encoding, transfer = (self._headers.get(f"{what}-Encoding") for what in ("Content", "Transfer"))
        if encoding is not None and encoding.lower() != "identity":
            raise BadReply(f"the answer is encoded ({encoding[:60]}), which it was not asked to be")
        if transfer is not None and transfer.lower() != "chunked":
            raise BadReply(f"the answer is transferred in {transfer[:60]!r}")

    def _whole(self) -> Reply:
        assert self._parser is not None
        status = self._parser.get_status_code()
        self._parser = None  # it calls this reader back, and the collector should have no cycle to look for
        return Reply(status, self._headers, b"".join(self._body))

    # What the parser calls back.

    def on_message_begin(self) -> None:
        self._beyond = self._complete

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_read:  # those after the body say nothing that is wanted
            self._headers.add(name.decode("latin-1"), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        self._head_read = True

    def on_body(self, data: bytes) -> None:
        self._body.append(data)
        self._without_body = 0

    def on_message_complete(self) -> None:
        assert self._parser is not None
        if self._parser.get_status_code() < 200:  # an interim answer: the one that was asked for is still to come
            self._head_read = False
            self._headers.clear()
            return
        self._complete = True
        self.keeps_open = bool(self._parser.should_keep_alive())
