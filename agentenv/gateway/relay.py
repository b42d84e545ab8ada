"""The events of one upstream stream, read, stripped and written again for the agent."""

from __future__ import annotations

from collections.abc import Mapping

from agentenv.gateway.answers import GIVEN_UP, NotAnAnswer, StreamedAnswer, strip_answer
from agentenv.gateway.continuation import chat_answer
from agentenv.gateway.dialects import StreamWriter
from agentenv.gateway.events import DONE, EventCutter, payload
from agentenv.gateway.failures import ApiError
from agentenv.gateway.requests import Question
from agentenv.gateway.wirejson import loads
from agentenv.messages import Wire


class Relay:
    """Takes bytes of a stream in, gives bytes for the agent out, and adds the answer up in between.

    Attributes:
        answer: what has come so far.
        first: the first chunk; it names the answer.
        ended: whether the upstream has said that its stream is over.
        given_up: whether the upstream has given the generation up; that chunk is not passed on.
    """

    def __init__(
        self, writer: StreamWriter, headers: Mapping[str, str], question: Question, *, version: int, exact: bool
    ) -> None:
        """`version` is that of the weights where the server does not say; `exact` that the stream is a text
        completion which the agent is to see as a chat completion."""
        self.answer = StreamedAnswer(headers, chat=question.chat, version=version)
        self._alternatives = int(question.body.get("top_logprobs") or 0)
        self._exact = exact
        self.first: Wire = {}
        self.ended = False
        self.given_up = False
        self._writer = writer
        self._asked = question.asked
        self._chat = question.chat
        self._cutter = EventCutter()

    def feed(self, data: bytes) -> bytes:
        """What the agent gets for these bytes.

        Raises:
            NotAnAnswer: they are no chunks of a completion, or the server reports a failure.
        """
        return b"".join([self._pass_on(event) for event in self._cutter.feed(data)])

    def finish(self) -> bytes:
        return self._writer.finish()

    def fail(self, error: ApiError) -> bytes:
        inner = error.to_wire()["error"]
        return self._writer.fail(inner)

    def _pass_on(self, event: bytes) -> bytes:
        data = payload(event)
        if data is None or self.ended:
            return b""
        if data == DONE:
            self.ended = True
            return b""
        try:
            chunk = loads(data)
        except ValueError as error:
            raise NotAnAnswer(f"an event is no JSON ({error})") from None
        if not isinstance(chunk, dict) or "choices" not in chunk:
            raise NotAnAnswer(_words(chunk))
        if self._exact:
            chunk = self._as_chat(chunk)
        self.first = self.first or {name: chunk.get(name) for name in ("id", "model", "created")}
        self.answer.take(chunk)
        if any(choice.get("finish_reason") in GIVEN_UP for choice in chunk["choices"]):
            self.given_up = True
            return b""
        strip_answer(chunk, self._asked)
        return self._writer.feed(chunk) if self._says_something(chunk) else b""

    def _as_chat(self, chunk: Wire) -> Wire:
        """A chunk of a text completion as one of a chat completion."""
        if not chunk["choices"]:
            return {**chunk, "object": "chat.completion.chunk"}
        try:
            found = chat_answer(chunk, {"role": "assistant", "content": ""}, top_logprobs=self._alternatives)
        except (KeyError, TypeError, AttributeError) as error:
            raise NotAnAnswer(f"a chunk lacks a field ({type(error).__name__}: {error})") from None
        choice = found["choices"][0]
        message = choice.pop("message")
        choice["delta"] = {"content": message["content"]} if self.first else message
        return {**found, "object": "chat.completion.chunk"}

    def _says_something(self, chunk: Wire) -> bool:
        """Whether anything is left of a chunk; servers send some for the token ids alone."""
        if not chunk["choices"]:
            return self._asked.usage
        return (
            not self._chat
            or "prompt_token_ids" in chunk
            or any(
                choice["delta"] or choice.get("finish_reason") or choice.get("logprobs") or choice.get("token_ids")
                for choice in chunk["choices"]
            )
        )


def chunks_of(reply: Wire, *, usage: bool) -> list[Wire]:
    """A whole chat answer as the chunks of a stream: one with everything, one with the end, one with the counts."""
    envelope = {name: reply.get(name) for name in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    said, ends = [], []
    for choice in reply["choices"]:
        index = choice.get("index", 0)
        delta = {name: value for name, value in choice["message"].items() if value is not None}
        if delta.get("tool_calls"):
            delta["tool_calls"] = [{"index": at, **call} for at, call in enumerate(delta["tool_calls"])]
        rest = {name: choice[name] for name in ("logprobs", "token_ids", "weight_versions") if name in choice}
        said.append({"index": index, "delta": delta, "finish_reason": None, **rest})
        ends.append({"index": index, "delta": {}, "logprobs": None, "finish_reason": choice.get("finish_reason")})
    prompt = {"prompt_token_ids": reply["prompt_token_ids"]} if "prompt_token_ids" in reply else {}
    chunks = [{**envelope, "choices": said, **prompt}, {**envelope, "choices": ends}]
    return [*chunks, {**envelope, "choices": [], "usage": reply.get("usage")}] if usage else chunks


def _words(chunk: object) -> str:
    """What a server says in place of a chunk."""
    error = chunk.get("error", chunk) if isinstance(chunk, dict) else chunk
    message = error.get("message", error) if isinstance(error, dict) else error
    return f"the server says: {message}"[:500]
