"""`/v1/chat/completions/derender`: sampled ids to an assistant message, whole or one streamed chunk at a time."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any, Literal

from aiohttp import web
from pydantic import BaseModel

from tests.support.fake_vllm.engines import Engines
from tests.support.fake_vllm.hermes import HermesStream
from tests.support.fake_vllm.options import ServerOptions
from tests.support.fake_vllm.refusals import Json, Refusal
from tests.support.fake_vllm.replies import ReplyWriter, counts, parse_calls
from tests.support.fake_vllm.requests import ChatBody, read_as, read_chat
from tests.support.fake_vllm.text import IncrementalText, TokenTexts
from tests.support.fake_vllm.wire import json_reply, read_json


class TokenLogprob(BaseModel):
    token_id: int
    logprob: float
    rank: int | None = None


class SampledLogprob(TokenLogprob):
    top_logprobs: list[TokenLogprob] = []


class TokenLogprobs(BaseModel):
    content: list[SampledLogprob] | None = None


class GeneratedChoice(BaseModel):
    index: int
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    token_ids: list[int] | None = None
    logprobs: TokenLogprobs | None = None


class Generated(BaseModel):
    """A reply, or one chunk of a stream, of /inference/v1/generate."""

    request_id: str = ""
    choices: list[GeneratedChoice]
    usage: Json | None = None
    prompt_token_ids: list[int] | None = None


class StreamState(BaseModel):
    """What the client carries from chunk to chunk. The server keeps nothing: it replays all that came before."""

    prev_tokens: list[str] = []
    prefix_offset: int = 0
    read_offset: int = 0
    role_sent: bool = False
    logprob_context_token_ids: list[int] = []
    logprob_text_offset: int = 0
    output_token_ids: list[int] = []
    output_chunk_lens: list[int] = []
    tools_streamed: bool = False
    last_tool_call_ids: list[str] = []


class DerenderBody(BaseModel):
    stream: bool = False
    model: str | None = None
    generate_response: Generated | None = None
    generate_chunk: Generated | None = None
    stream_state: StreamState | None = None
    prompt_tokens: int | None = None
    prompt_token_ids: list[int] | None = None
    chat_request: dict[str, Any] | None = None


class WholeBody(DerenderBody):
    stream: Literal[False] = False
    generate_response: Generated


class ChunkBody(DerenderBody):
    stream: Literal[True]
    generate_chunk: Generated


class Derendering:
    """Special tokens stay spelt out when a tool parser is configured: the end token of an answer shows in its text."""

    def __init__(self, engines: Engines, texts: TokenTexts, options: ServerOptions, model_name: str) -> None:
        self._engines, self._texts, self._model_name = engines, texts, model_name
        self._parses = options.tool_call_parser is not None and options.auto_tool_choice
        self._profile = options.profile
        self._writer = ReplyWriter(engines, texts, options)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/chat/completions/derender."""
        data = await read_json(request)
        if isinstance(data, dict) and data.get("stream"):
            return json_reply(self._chunk(read_as(ChunkBody, data)))
        return json_reply(self._whole(read_as(WholeBody, data)))

    def _whole(self, body: WholeBody) -> Json:
        chat = self._chat_request(body)
        generated, longest = body.generate_response, self._engines.max_model_len
        prompt_ids = body.prompt_token_ids or generated.prompt_token_ids or []
        choices = []
        for choice in generated.choices:
            ids = choice.token_ids
            if not ids:
                raise Refusal(f"choice {choice.index} has empty or null token_ids")
            if len(ids) > longest:
                raise Refusal(
                    f"token_ids length ({len(ids)}) in choice {choice.index} exceeds max_model_len ({longest})."
                )
            text = self._text(prompt_ids)
            text.feed(ids, ended_by_token=False)
            choices.append(self._whole_choice(choice, text.text, chat))
        sampled = sum(len(choice.token_ids or ()) for choice in generated.choices)
        reply = {
            "id": generated.request_id,
            "object": "chat.completion",
            "created": int(time.time()),
            "model": body.model or self._model_name,
            "choices": choices,
            **dict.fromkeys(self._profile.chat_nulls),
        }
        usage = counts(body.prompt_tokens or 0, sampled)
        return {**reply, "usage": {**usage, **dict.fromkeys(self._profile.usage_nulls)}}

    def _whole_choice(self, choice: GeneratedChoice, text: str, chat: ChatBody | None) -> Json:
        message = self._writer.message(text, parse_tools=False)
        if self._parses and chat is not None and chat.calls_tools:
            content, calls = parse_calls(text, lambda: uuid.uuid4().hex[:16])
            message |= {"content": content} | ({"tool_calls": calls} if calls else {})
        named = chat is not None and chat.return_token_ids
        return {
            "index": choice.index,
            "message": message,
            **dict.fromkeys(self._profile.chat_choice_nulls),
            "finish_reason": choice.finish_reason,
            "stop_reason": choice.stop_reason,
            "logprobs": self._logprobs(choice.logprobs),
            "token_ids": choice.token_ids if named else None,
        }

    def _logprobs(self, given: TokenLogprobs | None) -> Json | None:
        if given is None:
            return None
        content: list[Json] = []
        before: list[int] = []
        for each in given.content or ():
            tops = [self._record(top, before) for top in each.top_logprobs]
            content.append({**self._record(each, before), "top_logprobs": tops})
            before.append(each.token_id)
        return {"content": content}

    def _record(self, each: TokenLogprob, before: Sequence[int]) -> Json:
        token = self._texts.of(each.token_id, before)
        return {"token": token, "logprob": each.logprob, "bytes": list(token.encode())}

    def _chunk(self, body: ChunkBody) -> Json:
        chat = self._chat_request(body)
        if self._parses and body.prompt_token_ids is None:
            raise Refusal(
                "prompt_token_ids is required when a tool or reasoning parser is configured. Without it parse_delta "
                "cannot tell whether the prompt left reasoning open (e.g. a chat template that pre-opens <think>) and "
                "would misclassify reasoning content as plain content."
            )
        if len(body.generate_chunk.choices) > 1:
            raise Refusal(
                f"derender_chat_stream expects at most one choice per chunk (got {len(body.generate_chunk.choices)})."
            )
        state = body.stream_state or StreamState()
        choices = [self._chunk_choice(choice, state, body, chat) for choice in body.generate_chunk.choices]
        chunk = {
            "id": body.generate_chunk.request_id,
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": body.model or self._model_name,
            "choices": choices,
            "usage": body.generate_chunk.usage,
            "system_fingerprint": None,
            "prompt_token_ids": None,
            "prompt_text": None,
            "metrics": None,
        }
        return {"chunk": chunk, "stream_state": state.model_dump()}

    def _chunk_choice(
        self, choice: GeneratedChoice, state: StreamState, body: ChunkBody, chat: ChatBody | None
    ) -> Json:
        ids = choice.token_ids or []
        text = self._text(body.prompt_token_ids or [])
        parser = HermesStream() if self._parses and chat is not None and chat.calls_tools else None
        start = 0
        for length in state.output_chunk_lens:
            text.feed(state.output_token_ids[start : start + length], ended_by_token=False)
            start += length
            piece = text.delta(finished=False)
            if parser is not None:
                parser.feed(piece)
        text.feed(ids, ended_by_token=False)
        piece = text.delta(finished=False)
        delta: Json = (parser.feed(piece) or {}) if parser is not None else {"content": piece or None}
        calls = [self._piece(call, state) for call in delta.get("tool_calls", [])]
        shown: Json = {
            "role": None if state.role_sent else "assistant",
            "content": delta.get("content"),
            "reasoning": None,
        }
        if calls:
            shown["tool_calls"] = calls
        reason = "tool_calls" if choice.finish_reason and state.tools_streamed else choice.finish_reason
        state.role_sent = True
        if ids:
            state.output_token_ids += ids
            state.output_chunk_lens.append(len(ids))
        return {
            "index": choice.index,
            "delta": shown,
            "logprobs": None,
            "finish_reason": reason,
            "stop_reason": choice.stop_reason,
            "token_ids": ids if chat is not None and chat.return_token_ids else None,
        }

    def _piece(self, call: Json, state: StreamState) -> Json:
        """With all fields of the type, and the id that the call got when it first appeared."""
        state.tools_streamed = True
        name, arguments = call["function"].get("name"), call["function"].get("arguments")
        new_id = call.get("id")
        if new_id is not None:
            if call["index"] < len(state.last_tool_call_ids):
                new_id = state.last_tool_call_ids[call["index"]]
            else:
                state.last_tool_call_ids.append(new_id)
        function = {"name": name, "arguments": arguments}
        return {"id": new_id, "type": call.get("type"), "index": call["index"], "function": function}

    def _chat_request(self, body: DerenderBody) -> ChatBody | None:
        if body.chat_request is not None:
            return read_chat(body.chat_request)
        if self._parses:
            raise Refusal(
                "chat_request is required when a tool or reasoning parser is configured because plain detokenization "
                "would leak raw parser markup into content."
            )
        return None

    def _text(self, prompt_ids: Sequence[int]) -> IncrementalText:
        skip = not self._parses
        return IncrementalText(self._texts, prompt_ids, skip_special_tokens=skip, stops=(), include_stop=False)
