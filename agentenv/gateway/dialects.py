"""The APIs agents speak: where each is mounted, and how it is said in chat completions and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from agentenv.gateway.calls import Protocol
from agentenv.gateway.events import DONE, event
from agentenv.gateway.failures import ApiError
from agentenv.gateway.protocols import ProtocolError, anthropic, responses
from agentenv.gateway.sessions import Call, Session
from agentenv.gateway.wirejson import dumps
from agentenv.messages import Wire

_END = b"data: " + DONE + b"\n\n"


class StreamWriter(ABC):
    """Turns the chunks of one upstream stream into the bytes an agent gets."""

    @abstractmethod
    def feed(self, chunk: Wire) -> bytes:
        """What a chunk adds."""

    @abstractmethod
    def finish(self) -> bytes:
        """What ends a whole answer."""

    @abstractmethod
    def fail(self, error: Wire) -> bytes:
        """What makes the agent's library raise; `error` is the inner object of OpenAI's error body."""


class Dialect(ABC):
    """One API."""

    protocol: Protocol
    chat = True
    """Whether it goes upstream as a chat completion; else as a text completion."""
    own_fields = True
    """Whether agents can ask for token ids and logprobs by the names the upstream knows."""

    def to_upstream(self, body: Wire, session: Session) -> Wire:
        """The request in the upstream's format; the very same object where it is in it already.

        Raises:
            ApiError: it cannot be said there.
        """
        return body

    def from_upstream(self, reply: Wire, request: Wire) -> Wire:
        """An answer as the agent expects it."""
        return reply

    def answered(self, session: Session, call: Call, request: Wire, reply: Wire) -> None:
        """Told of every answer, whole or streamed (then of its first chunk)."""

    @abstractmethod
    def writer(self, request: Wire) -> StreamWriter:
        """For a streamed answer."""

    @abstractmethod
    def error(self, error: ApiError) -> bytes:
        """The body of an error."""


class _EventsAsTheyAre(StreamWriter):
    def feed(self, chunk: Wire) -> bytes:
        return event(chunk)

    def finish(self) -> bytes:
        return _END

    def fail(self, error: Wire) -> bytes:
        return event({"error": error}) + _END


class OpenAIDialect(Dialect):
    """Chat and text completions: what the upstream speaks itself."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.chat = protocol is Protocol.CHAT

    def writer(self, request: Wire) -> StreamWriter:
        return _EventsAsTheyAre()

    def error(self, error: ApiError) -> bytes:
        return error.body or dumps(error.to_wire())


class _TranslatedEvents(StreamWriter):
    def __init__(self, stream: responses.Stream | anthropic.Stream) -> None:
        self._stream = stream

    def feed(self, chunk: Wire) -> bytes:
        return b"".join(self._stream.feed(chunk))

    def finish(self) -> bytes:
        return b"".join(self._stream.finish())

    def fail(self, error: Wire) -> bytes:
        return b"".join(self._stream.fail(error))


class ResponsesDialect(Dialect):
    """OpenAI's Responses API; a session remembers its responses, so `previous_response_id` works in it."""

    protocol = Protocol.RESPONSES
    own_fields = False

    def to_upstream(self, body: Wire, session: Session) -> Wire:
        def earlier(id: str) -> Sequence[Wire] | None:
            return session.conversation_of_response(id)

        try:
            return responses.to_chat(body, earlier)
        except ProtocolError as error:
            raise ApiError(400, str(error), param=error.param) from None

    def from_upstream(self, reply: Wire, request: Wire) -> Wire:
        return responses.from_chat(reply, request)

    def answered(self, session: Session, call: Call, request: Wire, reply: Wire) -> None:
        own_messages = 0 if request.get("instructions") is None else 1
        session.remember_response(responses.response_id(reply), call, own_messages)

    def writer(self, request: Wire) -> StreamWriter:
        return _TranslatedEvents(responses.Stream(request))

    def error(self, error: ApiError) -> bytes:
        return dumps(responses.error_body(error.status, error.message, param=error.param, code=_text(error.code)))


class MessagesDialect(Dialect):
    """Anthropic's Messages API."""

    protocol = Protocol.MESSAGES
    own_fields = False

    def to_upstream(self, body: Wire, session: Session) -> Wire:
        try:
            return anthropic.to_chat(body)
        except ProtocolError as error:
            raise ApiError(400, str(error), param=error.param) from None

    def from_upstream(self, reply: Wire, request: Wire) -> Wire:
        return anthropic.from_chat(reply, request)

    def writer(self, request: Wire) -> StreamWriter:
        return _TranslatedEvents(anthropic.Stream(request))

    def error(self, error: ApiError) -> bytes:
        return dumps(anthropic.error_body(error.status, error.message, param=error.param, code=_text(error.code)))


def _text(code: Any) -> str | None:
    return None if code is None else str(code)


DIALECTS: dict[tuple[str, ...], Dialect] = {
    ("chat", "completions"): OpenAIDialect(Protocol.CHAT),
    ("completions",): OpenAIDialect(Protocol.COMPLETIONS),
    ("responses",): ResponsesDialect(),
    ("messages",): MessagesDialect(),
}
"""By the path after `/v1`."""
