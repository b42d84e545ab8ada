"""An answer is the same answer however the network cuts it; whatever else a server sends is told from one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentenv.gateway.replies import BadReply, Reply, ReplyReader

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def read(*pieces: bytes) -> tuple[Reply | None, ReplyReader]:
    """What a reader makes of these pieces; nothing may follow a whole answer."""
    reader, reply = ReplyReader(), None
    for piece in pieces:
        assert reply is None
        reply = reader.feed(piece)
    return reply, reader


def chunked(chunks: Sequence[bytes]) -> bytes:
    return b"".join(b"%x;name=value\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nDigest: x\r\n\r\n"


def with_length(body: bytes) -> bytes:
    return b"%bcontent-length:%d\r\n\r\n%b" % (OK, len(body), body)


def in_chunks(body: bytes) -> bytes:
    halves = [half for half in (body[: len(body) // 2], body[len(body) // 2 :]) if half]
    return OK + b"Transfer-Encoding: Chunked\r\n\r\n" + chunked(halves)


@given(
    st.binary(max_size=40) | st.just(b"\r\n0\r\n\r\n"),
    st.lists(st.integers(0, 200), max_size=6),
    st.sampled_from([with_length, in_chunks]),
    st.booleans(),
)
def test_however_an_answer_is_cut_it_is_the_same(body: bytes, cuts: list[int], written: object, interim: bool) -> None:
    assert callable(written)
    raw = (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" if interim else b"") + written(body)
    ends = [*sorted({cut for cut in cuts if cut < len(raw)}), len(raw)]
    reply, reader = read(*(raw[start:end] for start, end in zip([0, *ends], ends, strict=False) if start < end))
    assert reply is not None
    assert (reply.status, reply.body) == (200, body)
    assert reply.headers["content-type"] == "application/json"
    assert reader.keeps_open


@pytest.mark.parametrize(
    ("head", "keeps_open"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", True),
    ],
)
def test_a_server_says_whether_it_takes_another_request(head: bytes, keeps_open: bool) -> None:
    reply, reader = read(head)
    assert reply is not None
    assert (reply.body, reader.keeps_open) == (b"", keeps_open)


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    reply, reader = read(OK + b"\r\n", b"ab", b"c")
    assert reply is None
    ended = reader.end()
    assert ended is not None
    assert (ended.status, ended.body) == (200, b"abc")
    assert not reader.keeps_open


@pytest.mark.parametrize("begun", [b"", OK, OK + b"Content-Length: 3\r\n\r\nab", in_chunks(b"abcd")[:-3]])
def test_an_answer_that_breaks_off_is_none(begun: bytes) -> None:
    reply, reader = read(begun)
    assert reply is None
    assert reader.end() is None


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\nabc",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        OK + b"Content-Length: 3\r\n\r\nabcd",
        OK + b"Content-Encoding: gzip\r\nContent-Length: 0\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc",
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nmore",
        OK + b"Content-Length: 3\r\n\r\nabcHTTP/1.1 200",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x" * 2**17,
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 2**13,
    ],
)
def test_what_is_no_answer_is_refused(raw: bytes) -> None:
    with pytest.raises(BadReply):
        read(raw)


@pytest.mark.parametrize("lines", [b"X-More: and more\r\n", b"one-line"], ids=["ever more lines", "a line without end"])
def test_what_follows_the_body_has_a_limit(lines: bytes) -> None:
    with pytest.raises(BadReply, match="does not end"):
        read(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", *[lines * 512] * 20)
