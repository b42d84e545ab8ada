"""A model server that costs next to nothing: fixed answers with vLLM's token fields, so that what a gateway adds shows.

Answers are made once per request body and kept. Every chat answer's id says how many nanoseconds passed between the
arrival of its request and the answer, so that a client can take the model's time off what it waited.

Tokens are four characters of a message each, between a token for its role and one for its end: a conversation that goes
on begins with the tokens of the one before, as with most chat templates. The model `drifting` samples three characters
a token: what it has said is spelled otherwise when the conversation is rendered again.

python -m benchmarks.gateway_upstream --latency 0.15-0.35
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

ANSWER_TOKENS = 64
"""Of an answer in words, unless the request says `max_tokens`."""

_END, _NEWLINE, _FIRST_PIECE = 2, 3, 10
_ROLES = {"system": 4, "user": 5, "assistant": 6, "tool": 7}
_DIGITS = 20
_NO_TIME = b"0" * _DIGITS
_MODEL = "mock"
DRIFTING = "drifting"

Wire = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Reply:
    """A ready answer; `start` is where the nanoseconds go in, if they do. `slow`: the model has to think for it."""

    head: bytes
    start: int | None
    tail: bytes
    slow: bool


_vocabulary: dict[str, int] = {}
_spellings: dict[int, str] = {_END: "<|end|>", _NEWLINE: "\n", **{id: f"<|{role}|>" for role, id in _ROLES.items()}}


def _pieces(text: str, size: int = 4) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def _ids(pieces: Sequence[str]) -> list[int]:
    ids = [_vocabulary.setdefault(piece, _FIRST_PIECE + len(_vocabulary)) for piece in pieces]
    _spellings.update(zip(ids, pieces, strict=True))
    return ids


def _spell(ids: Sequence[int]) -> str:
    return "".join(_spellings[id] for id in ids)


def _text(message: Wire) -> str:
    calls = "".join(
        f"<tool_call>{call['function']['name']} {call['function']['arguments']}</tool_call>"
        for call in message.get("tool_calls") or ()
    )
    return (message.get("content") or "") + calls


def _prompt(body: Wire) -> list[int]:
    listed = json.dumps(body["tools"], sort_keys=True) if body.get("tools") else ""
    ids = [_ROLES["system"], *_ids(_pieces(listed)), _END, _NEWLINE] if listed else []
    for message in body["messages"]:
        ids += [_ROLES[message["role"]], *_ids(_pieces(_text(message))), _END, _NEWLINE]
    return [*ids, _ROLES["assistant"]]


def _answer(body: Wire) -> Wire:
    """A call of the first tool, or words where there is none or it has answered."""
    if body.get("tools") and body["messages"][-1]["role"] == "user":
        function = {"name": body["tools"][0]["function"]["name"], "arguments": '{"expression": "56-31"}'}
        return {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": function}],
        }
    if body.get("tools"):
        return {"role": "assistant", "content": "The result is 55."}
    words = int(body.get("max_tokens") or ANSWER_TOKENS) - 1
    return {
        "role": "assistant",
        "content": "".join(f"{'abcdefghijklmnopqrstuvwxyz'[n % 26] * 3} " for n in range(words)),
    }


def _read(text: str) -> Wire:
    """The message of a text: what tool and reasoning parsers do."""
    found = re.fullmatch(r"<tool_call>(\S+) (.*)</tool_call>", text)
    if found is None:
        return {"role": "assistant", "content": text}
    call = {"id": "c1", "type": "function", "function": {"name": found[1], "arguments": found[2]}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _text_completion(body: Wire) -> Wire:
    """After token ids; only conversations in which a tool has answered come this way."""
    prompt, pieces = body["prompt"], [*_pieces(text := "The result is 55."), "<|end|>"]
    logprobs = {"tokens": pieces, "token_logprobs": [-0.0123456789] * len(pieces), "top_logprobs": None}
    choice = {
        "index": 0,
        "text": text,
        "logprobs": logprobs,
        "finish_reason": "stop",
        "stop_reason": None,
        "token_ids": [*_ids(pieces[:-1]), _END],
        "prompt_token_ids": prompt,
    }
    counts = {"prompt_tokens": len(prompt), "total_tokens": len(prompt) + len(pieces), "completion_tokens": len(pieces)}
    return {
        "id": "cmpl-" + _NO_TIME.decode(),
        "object": "text_completion",
        "created": 1_700_000_000,
        "model": _MODEL,
        "choices": [choice],
        "usage": counts,
    }


def _completion(body: Wire) -> Wire:
    message, prompt = _answer(body), _prompt(body)
    pieces = [*_pieces(_text(message), 3 if body.get("model") == DRIFTING else 4), ""]
    choice: dict[str, Any] = {
        "index": 0,
        "message": {**message, "refusal": None, "annotations": None, "audio": None, "reasoning": None},
        "logprobs": None,
        "finish_reason": "tool_calls" if message.get("tool_calls") else "stop",
        "stop_reason": None,
        "token_ids": None,
    }
    reply: dict[str, Any] = {
        "id": "chatcmpl-" + _NO_TIME.decode(),
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": _MODEL,
        "choices": [choice],
        "usage": {
            "prompt_tokens": len(prompt),
            "total_tokens": len(prompt) + len(pieces),
            "completion_tokens": len(pieces),
        },
        "prompt_logprobs": None,
        "prompt_token_ids": None,
    }
    if body.get("logprobs"):
        choice["logprobs"] = {
            "content": [
                {
                    "token": piece,
                    "logprob": -0.0123456789 * (n % 40 + 1),
                    "bytes": list(piece.encode()),
                    "top_logprobs": [],
                }
                for n, piece in enumerate(pieces)
            ]
        }
    if body.get("return_token_ids"):
        choice["token_ids"], reply["prompt_token_ids"] = [*_ids(pieces[:-1]), _END], prompt
    return reply


def _made(path: str, body: Wire) -> _Reply:
    slow, status = False, "200 OK"
    answer: Wire = {}
    if path.endswith(("/render", "/derender")) and not body:  # how a gateway finds out that the routes exist
        status, answer = "400 Bad Request", {"error": {"message": "a field is missing"}}
    elif path.endswith("/chat/completions/render"):
        answer = {"token_ids": _prompt(body), "sampling_params": {"max_tokens": 4096}}
    elif path.endswith("/chat/completions"):
        slow, answer = True, _completion(body)
    elif path.endswith("/v1/completions"):
        slow, answer = True, _text_completion(body)
    elif path.endswith("/derender"):
        choices = body["generate_response"]["choices"]
        answer = {"choices": [{"message": _read(_spell(choice["token_ids"]))} for choice in choices]}
    elif path.endswith("/detokenize"):
        answer = {"prompt": _spell(body["tokens"])}
    elif path.endswith("/models"):
        answer = {"object": "list", "data": [{"id": _MODEL, "object": "model", "max_model_len": 8192}]}
    elif not path.endswith("/health"):
        status, answer = "404 Not Found", {"error": {"message": f"no {path}"}}
    raw = json.dumps(answer, separators=(",", ":")).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n".encode()
    before, zeros, after = raw.partition(_NO_TIME)
    return _Reply(head + before, len(head) + len(before) if zeros else None, after, slow)


class _Connection(asyncio.Protocol):
    replies: dict[tuple[bytes, bytes], _Reply] = {}  # noqa: RUF012 - one table for all connections
    latency: tuple[float, float] = (0.0, 0.0)
    dice = random.Random(0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._buffer = b""
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        arrived = time.perf_counter_ns()
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            at = head.lower().find(b"content-length:")
            length = int(head[at + 15 :].partition(b"\r\n")[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            body, self._buffer = self._buffer[end + 4 : end + 4 + length], self._buffer[end + 4 + length :]
            self._reply(head.split(b" ", 2)[1], body, arrived)

    def _reply(self, path: bytes, body: bytes, arrived: int) -> None:
        key = path, body
        reply = self.replies.get(key)
        if reply is None:
            reply = self.replies[key] = _made(path.decode(), json.loads(body) if body else {})
        if reply.slow and self.latency[1] > 0:
            self._loop.call_later(self.dice.uniform(*self.latency), self._send, reply, arrived)
        else:
            self._send(reply, arrived)

    def _send(self, reply: _Reply, arrived: int) -> None:
        if self._transport.is_closing():
            return
        took = b"%0*d" % (_DIGITS, time.perf_counter_ns() - arrived) if reply.start is not None else b""
        self._transport.write(reply.head + took + reply.tail)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", port, backlog=4096)
    print(json.dumps({"url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}), flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", default="0", help="seconds, or LOW-HIGH")
    given = parser.parse_args()
    low, _, high = given.latency.partition("-")
    _Connection.latency = float(low), float(high or low)
    try:
        import uvloop
    except ImportError:
        asyncio.run(_serve(given.port))
    else:
        uvloop.run(_serve(given.port))


if __name__ == "__main__":
    main()
