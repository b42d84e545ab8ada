"""The OpenAI-compatible HTTP face of an engine: routes, errors and streaming. Field names are vLLM's."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from agentenv_tiny.encoder import PromptEncoder, Renderer
from agentenv_tiny.engine import Engine
from agentenv_tiny.errors import ContextLengthError, EngineStoppedError, PromptError, WeightsError
from agentenv_tiny.generation import FinishReason
from agentenv_tiny.replies import (
    EventWriter,
    TokenTexts,
    chat_finish_reason,
    chat_message,
    cut_at_stop,
    new_id,
    stop_reason,
    usage,
    weight_versions,
)
from agentenv_tiny.requests import (
    ChatRequest,
    Json,
    ReplyOptions,
    RequestError,
    read_chat,
    read_completion,
    read_json,
    read_sampling,
)
from agentenv_tiny.sampling import SamplingParameters
from agentenv_tiny.scale_out import derendered, rendered
from agentenv_tiny.vocabulary import Vocabulary

SERVER_VERSION = "agentenv-tiny 1"
_NO_LOGPROBS = '"logprobs": null'
MAX_BODY_BYTES = 16 * 2**20

_log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class PolicyServer:
    """Routes over one engine. `app` is an aiohttp application; run it with `handler_cancellation=True`, so that a
    client that disconnects aborts its request."""

    def __init__(
        self, engine: Engine, vocabulary: Vocabulary, *, model_name: str, end_token: str, render: Renderer
    ) -> None:
        self._engine = engine
        self._vocabulary = vocabulary
        self._model_name = model_name
        self._render = render
        self._encoder = PromptEncoder(vocabulary, end_token)
        self._texts = TokenTexts(vocabulary)
        self._started = int(time.time())
        self.app = web.Application(client_max_size=MAX_BODY_BYTES)
        self.app.add_routes(
            [
                web.post("/v1/chat/completions", _answering_errors(self.chat)),
                web.post("/v1/chat/completions/render", _answering_errors(self.render)),
                web.post("/v1/chat/completions/derender", _answering_errors(self.derender)),
                web.post("/v1/completions", _answering_errors(self.complete)),
                web.get("/v1/models", _answering_errors(self.models)),
                web.get("/health", _answering_errors(self.health)),
                web.get("/version", _answering_errors(self.version)),
                web.post("/tokenize", _answering_errors(self.tokenize)),
                web.post("/detokenize", _answering_errors(self.detokenize)),
                web.post("/reload_weights", _answering_errors(self.reload_weights)),
            ]
        )

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/chat/completions."""
        body = read_json(await request.read())
        self._check_model(body)
        chat = read_chat(body)
        prompt_ids = self._chat_ids(chat)
        top = body.get("top_logprobs") or 0
        sampling = self._sampling(body, prompt_ids, top)
        if chat.options.stream:
            return await self._stream(
                request, prompt_ids, sampling, chat.options, chat=True, parse_tools=chat.parse_tools
            )
        generation = await self._engine.generate(prompt_ids, sampling)
        text, stop = cut_at_stop(self._vocabulary.decode(generation.token_ids), sampling.stop)
        message = chat_message(text, parse_tools=chat.parse_tools, single_call=chat.options.single_call)
        choice: Json = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": chat_finish_reason(generation.finish_reason or FinishReason.ABORT, message),
            **stop_reason(stop),
        }
        reply = self._reply("chatcmpl", "chat.completion", choice)
        reply["usage"] = usage(generation)
        if chat.options.return_token_ids:
            reply["prompt_token_ids"] = generation.prompt_ids
            choice["token_ids"] = generation.token_ids
        if chat.options.return_weight_versions:
            choice["weight_versions"] = weight_versions(generation)
        text = json.dumps(reply)
        if chat.options.logprobs:
            # Quotes inside JSON strings are escaped, so the first match is the field itself.
            text = text.replace(_NO_LOGPROBS, '"logprobs": ' + self._texts.chat_logprobs_text(generation), 1)
        return web.Response(body=text.encode(), content_type="application/json")

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/completions: one prompt, as text or token ids."""
        body = read_json(await request.read())
        self._check_model(body)
        completion = read_completion(body)
        prompt = completion.prompt
        prompt_ids = self._encode(prompt) if isinstance(prompt, str) else prompt
        sampling = self._sampling(body, prompt_ids, body.get("logprobs") or 0)
        if completion.options.stream:
            return await self._stream(request, prompt_ids, sampling, completion.options, chat=False, parse_tools=False)
        generation = await self._engine.generate(prompt_ids, sampling)
        text, stop = cut_at_stop(self._vocabulary.decode(generation.token_ids), sampling.stop)
        choice: Json = {
            "index": 0,
            "text": text,
            "logprobs": self._texts.completion_logprobs(generation) if completion.options.logprobs else None,
            "finish_reason": (generation.finish_reason or FinishReason.ABORT).value,
            **stop_reason(stop),
        }
        if completion.options.return_token_ids:
            choice |= {"prompt_token_ids": generation.prompt_ids, "token_ids": generation.token_ids}
        if completion.options.return_weight_versions:
            choice["weight_versions"] = weight_versions(generation)
        return _json(self._reply("cmpl", "text_completion", choice) | {"usage": usage(generation)})

    async def render(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/chat/completions/render: what a chat request is prompted with, and how it samples."""
        body = read_json(await request.read())
        self._check_model(body)
        prompt_ids = self._chat_ids(read_chat(body))
        return _json(rendered(prompt_ids, self._sampling(body, prompt_ids, 0), self._model_name))

    async def derender(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/chat/completions/derender: the message that sampled ids are."""
        body = read_json(await request.read())
        self._check_model(body)
        return _json(derendered(body, self._vocabulary, self._model_name))

    async def models(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/models."""
        card = {
            "id": self._model_name,
            "object": "model",
            "created": self._started,
            "owned_by": "agentenv",
            "root": self._model_name,
            "max_model_len": self._engine.shape.context,
        }
        return _json({"object": "list", "data": [card]})

    async def health(self, request: web.Request) -> web.StreamResponse:
        """GET /health: 200 while the sampling thread lives, else 503."""
        return web.Response(status=200 if self._engine.alive else 503)

    async def version(self, request: web.Request) -> web.StreamResponse:
        """GET /version: of the server and of the weights."""
        return _json({"version": SERVER_VERSION, "weight_version": self._engine.version})

    async def tokenize(self, request: web.Request) -> web.StreamResponse:
        """POST /tokenize: `{"prompt"}` or `{"messages", "tools", "add_generation_prompt"}` to ids."""
        body = read_json(await request.read())
        prompt = body.get("prompt")
        if isinstance(prompt, str):
            token_ids = self._encode(prompt)
        elif "messages" in body:
            token_ids = self._chat_ids(read_chat(body))
        else:
            raise RequestError("give a prompt (string) or messages", param="prompt")
        return _json({"count": len(token_ids), "max_model_len": self._engine.shape.context, "tokens": token_ids})

    async def detokenize(self, request: web.Request) -> web.StreamResponse:
        """POST /detokenize: `{"tokens"}` to text, special tokens spelt out."""
        tokens = read_json(await request.read()).get("tokens")
        known = range(self._vocabulary.size)
        if not isinstance(tokens, list) or not all(type(token) is int and token in known for token in tokens):
            raise RequestError(f"tokens must be a list of ids below {len(known)}", param="tokens")
        return _json({"prompt": self._vocabulary.decode_literally(tokens)})

    async def reload_weights(self, request: web.Request) -> web.StreamResponse:
        """POST /reload_weights `{"path", "version"}`: answers when the new weights sample."""
        body = read_json(await request.read())
        path, version = body.get("path"), body.get("version")
        if not isinstance(path, str) or type(version) is not int:
            raise RequestError("give path (a folder with model.safetensors) and version (an integer)", param="path")
        loaded = await asyncio.to_thread(self._engine.load_weights, path, version)
        await asyncio.wrap_future(loaded)
        return _json({"version": version})

    async def _stream(
        self,
        request: web.Request,
        prompt_ids: list[int],
        sampling: SamplingParameters,
        options: ReplyOptions,
        *,
        chat: bool,
        parse_tools: bool,
    ) -> web.StreamResponse:
        self._engine.check_length(prompt_ids, sampling.max_tokens)  # while an error status can still be sent
        writer = EventWriter(
            model=self._model_name,
            chat=chat,
            parse_tools=parse_tools,
            stops=sampling.stop,
            options=options,
            vocabulary=self._vocabulary,
            texts=self._texts,
        )
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        try:
            async for generation in self._engine.stream(prompt_ids, sampling):
                for chunk in writer.chunks(generation):
                    await response.write(chunk)
        except EngineStoppedError as error:
            await response.write(b"data: " + _error_body(RequestError(str(error), status=503)) + b"\n\n")
        await response.write_eof()
        return response

    def _chat_ids(self, chat: ChatRequest) -> list[int]:
        return self._encode(self._render(chat.messages, chat.tools, chat.add_generation_prompt))

    def _encode(self, text: str) -> list[int]:
        try:
            return self._encoder.encode(text)
        except (UnicodeEncodeError, TypeError) as error:
            raise RequestError("the text holds a lone surrogate, which is no character") from error

    def _sampling(self, body: Json, prompt_ids: list[int], top_logprobs: int) -> SamplingParameters:
        return read_sampling(body, room=self._engine.shape.context - len(prompt_ids), top_logprobs=top_logprobs)

    def _check_model(self, body: Json) -> None:
        model = body.get("model")
        if model not in (None, self._model_name):
            raise RequestError(
                f"The model `{model}` does not exist: this server serves `{self._model_name}`.",
                status=404,
                param="model",
                code="model_not_found",
            )

    def _reply(self, prefix: str, kind: str, choice: Json) -> Json:
        return {
            "id": new_id(prefix),
            "object": kind,
            "created": int(time.time()),
            "model": self._model_name,
            "choices": [choice],
        }


def _json(payload: Any) -> web.Response:
    return web.Response(body=json.dumps(payload).encode(), content_type="application/json")


def _error_body(error: RequestError) -> bytes:
    kinds = {404: "not_found_error", 413: "invalid_request_error", 400: "invalid_request_error"}
    details = {
        "message": str(error),
        "type": kinds.get(error.status, "server_error"),
        "param": error.param,
        "code": error.code,
    }
    return json.dumps({"error": details}).encode()


def _answering_errors(handler: Handler) -> Handler:
    """Answer what a handler raises with OpenAI's error body and the right status."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except RequestError as error:
            answer = error
        except ContextLengthError as error:
            answer = RequestError(str(error), param="messages", code="context_length_exceeded")
        except (WeightsError, PromptError) as error:
            answer = RequestError(str(error))
        except EngineStoppedError as error:
            answer = RequestError(str(error), status=503)
        except web.HTTPRequestEntityTooLarge as error:
            answer = RequestError(f"the body is larger than {MAX_BODY_BYTES} bytes: {error.text}", status=413)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception as error:  # a fault of this server must reach the client as one, and the log in full
            _log.exception("%s %s failed", request.method, request.path)
            answer = RequestError(f"internal error: {type(error).__name__}: {error}", status=500)
        return web.Response(status=answer.status, body=_error_body(answer), content_type="application/json")

    return handle
