"""What token-exact turns need of a server: its template, its tokenizer and its parsers, over HTTP.

vLLM serves all three without a GPU's time: `/v1/chat/completions/render` (0.15) gives the ids of a chat request,
`/detokenize` (always) the text of ids, `/v1/chat/completions/derender` (0.24) the message of sampled ids, read by the
tool and reasoning parsers the chat route uses. The first and the last need `--enable-scale-out`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agentenv.errors import AgentenvError
from agentenv.messages import Wire

Post = Callable[[str, Wire], Awaitable[tuple[int, Any]]]
"""Posts a JSON body to a path of the server (from its root); gives the status and the JSON of the answer.

It raises `OSError` or `TimeoutError` (aiohttp's and asyncio's do) when there is no answer.
"""

Options = Mapping[str, Any]
"""The fields of a chat request besides its messages and tools."""

RENDER = "/v1/chat/completions/render"
DERENDER = "/v1/chat/completions/derender"
DETOKENIZE = "/detokenize"


class RendererError(AgentenvError):
    """The server did not render, spell or read what it was asked to."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A chat request as the server would prompt the model with it.

    Attributes:
        ids: of the prompt. max_tokens: what the request may sample after it, or `None` where the server does not say.
        constrained: whether sampling is held to a grammar (forced tool calls, strict tools, response formats).
        skip_special_tokens: whether special tokens are left out of the answer's text; tool parsers may want them.
    """

    ids: Sequence[int]
    max_tokens: int | None = None
    constrained: bool = False
    skip_special_tokens: bool = True


class Renderer(Protocol):
    """One server's template, tokenizer and parsers. Every method raises `RendererError`."""

    async def ready(self) -> bool:
        """Whether the server can render and read at all; without, no turn is realigned."""
        ...

    async def render(
        self,
        messages: Sequence[Wire],
        tools: Sequence[Wire],
        *,
        add_generation_prompt: bool,
        options: Options,
    ) -> Rendered:
        """The prompt of a chat request; `options` are its other fields."""
        ...

    async def spell(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens included."""
        ...

    async def read_answer(
        self,
        prompt_ids: Sequence[int],
        sampled_ids: Sequence[int],
        messages: Sequence[Wire],
        tools: Sequence[Wire],
        options: Options,
    ) -> Wire:
        """The assistant message the chat route would make of `sampled_ids`, an end-of-turn token apart."""
        ...


class ServerRenderer:
    """A `Renderer` over a vLLM server, or one that speaks its routes.

    It keeps no state but whether the routes exist, which it asks once; one object serves all sessions on the server.
    `seconds` bounds every request.
    """

    def __init__(self, post: Post, model: str, *, seconds: float = 30.0) -> None:
        self._post = post
        self._model = model
        self._seconds = seconds
        self._ready: bool | None = None

    async def ready(self) -> bool:
        if self._ready is None:
            try:
                async with asyncio.timeout(self._seconds):
                    statuses = [(await self._post(path, {}))[0] for path in (RENDER, DERENDER)]
            except (OSError, TimeoutError):
                return False  # not now; asked again for the next call
            if any(status >= 500 and status != _NOT_IMPLEMENTED for status in statuses):
                return False
            self._ready = all(status in _REFUSES_AN_EMPTY_BODY for status in statuses)
        return self._ready

    async def render(
        self,
        messages: Sequence[Wire],
        tools: Sequence[Wire],
        *,
        add_generation_prompt: bool,
        options: Options,
    ) -> Rendered:
        body = self._chat(messages, tools, options) | {"add_generation_prompt": add_generation_prompt}
        answer = await self._ask(RENDER, body)
        ids, sampling = answer.get("token_ids"), answer.get("sampling_params") or {}
        if not isinstance(ids, list) or not isinstance(sampling, Mapping):
            raise RendererError(f"{RENDER} answered without token_ids")
        return Rendered(
            ids,
            max_tokens=sampling.get("max_tokens"),
            constrained=bool(sampling.get("structured_outputs")),
            skip_special_tokens=bool(sampling.get("skip_special_tokens", True)),
        )

    async def spell(self, ids: Sequence[int]) -> str:
        text = (await self._ask(DETOKENIZE, {"model": self._model, "tokens": list(ids)})).get("prompt")
        if not isinstance(text, str):
            raise RendererError(f"{DETOKENIZE} answered without prompt")
        return text

    async def read_answer(
        self,
        prompt_ids: Sequence[int],
        sampled_ids: Sequence[int],
        messages: Sequence[Wire],
        tools: Sequence[Wire],
        options: Options,
    ) -> Wire:
        if not sampled_ids:  # the route refuses an empty answer
            return {"role": "assistant", "content": ""}
        # The whole prompt tells a reasoning parser whether it ends within a thought; the tail is how decoding begins.
        choice = {"index": 0, "token_ids": list(sampled_ids), "finish_reason": "stop"}
        body = {
            "model": self._model,
            "generate_response": {
                "request_id": "continuation",
                "choices": [choice],
                "prompt_token_ids": list(prompt_ids),
            },
            "prompt_token_ids": list(prompt_ids[-_DECODING_WINDOW:]),
            "chat_request": self._chat(messages, tools, options),
        }
        answer = await self._ask(DERENDER, body)
        try:
            message: Wire = answer["choices"][0]["message"]
            return {**message, "role": "assistant"}
        except (KeyError, IndexError, TypeError):
            raise RendererError(f"{DERENDER} answered without a message") from None

    def _chat(self, messages: Sequence[Wire], tools: Sequence[Wire], options: Options) -> Wire:
        body: Wire = {name: value for name, value in options.items() if name not in _NOT_OF_THE_PROMPT}
        body |= {"model": self._model, "messages": list(messages)}
        if tools:
            body["tools"] = list(tools)
        return body

    async def _ask(self, path: str, body: Wire) -> Wire:
        try:
            async with asyncio.timeout(self._seconds):
                status, answer = await self._post(path, body)
        except (OSError, TimeoutError) as error:
            raise RendererError(f"{path} did not answer: {type(error).__name__}: {error}") from error
        if status != 200 or not isinstance(answer, dict):
            raise RendererError(f"{path} answered {status}: {str(answer)[:200]}")
        return answer


_REFUSES_AN_EMPTY_BODY = (400, 422)
"""What a route that exists says to `{}`. vLLM answers 404 where it is older, 403 where it was started without."""

_NOT_IMPLEMENTED = 501

_DECODING_WINDOW = 16
"""Ids of the prompt that decoding an answer looks back on (a space before its first word); vLLM needs the last few."""

_NOT_OF_THE_PROMPT = frozenset(
    {"stream", "stream_options", "logprobs", "top_logprobs", "return_token_ids", "return_weight_versions", "n", "store"}
)
