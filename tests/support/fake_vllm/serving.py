"""The routes that read text, write text and sample."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from aiohttp import web

from agentenv_tiny import Generation
from agentenv_tiny.encoder import PromptEncoder, Renderer
from tests.support.fake_vllm.answers import Answer, Answering, Prompted, new_request_id
from tests.support.fake_vllm.engines import END_TOKEN, Asked, Engines
from tests.support.fake_vllm.options import ServerOptions
from tests.support.fake_vllm.profiles import GenerateShape, RenderShape
from tests.support.fake_vllm.refusals import Json, Refusal, UnknownModel, Unsupported
from tests.support.fake_vllm.replies import ReplyWriter
from tests.support.fake_vllm.requests import (
    ChatBody,
    Conversation,
    DetokenizeBody,
    Message,
    TokenizeText,
    read_as,
    read_chat,
    read_completion,
    read_generate,
    read_tokenize,
)
from tests.support.fake_vllm.streams import ChatStream, CompletionStream, EventStream, GenerateStream
from tests.support.fake_vllm.text import TokenTexts
from tests.support.fake_vllm.wire import json_reply, read_json


class Serving:
    """Handlers; each takes a request and answers it, or raises Refusal."""

    def __init__(
        self, engines: Engines, texts: TokenTexts, render: Renderer, options: ServerOptions, model_name: str, root: str
    ) -> None:
        self._engines, self._texts, self._render = engines, texts, render
        self._options, self._profile = options, options.profile
        self._model_name, self._root = model_name, root
        self._encoder = PromptEncoder(engines.vocabulary, END_TOKEN)
        self._answering = Answering(engines, texts, options)
        self._writer = ReplyWriter(engines, texts, options)

    # -- sampling ------------------------------------------------------------------------------------------------------

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = read_chat(await read_json(request))
        model = self._model(body.model)
        self._engines.check_alive()
        if body.tool_choice == "auto" and not (self._options.tool_call_parser and self._options.auto_tool_choice):
            raise Refusal('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set')
        text = self._rendered(body)
        prompt_ids = self._encoder.encode(text)
        limit = self._answering.limit(prompt_ids, body.limit, encoded_here=True)
        parameters = self._answering.parameters(body, limit=limit, alternatives=body.alternatives)
        skip = body.skip_special_tokens and not body.calls_tools
        request_id = new_request_id("chatcmpl", body.request_id or request.headers.get("X-Request-Id"))
        prompted = Prompted(request_id, model, prompt_ids, body, parameters, skip, body.cache_salt or "")
        name = model or self._model_name
        if not body.stream:
            answers = await self._sample([prompted])
            return json_reply(self._writer.chat(body, request_id, name, answers, text))
        parses = self._options.tool_call_parser is not None
        events = ChatStream(
            self._answering, self._writer, prompted, request_id, name, body=body, parses=parses, prompt_text=text
        )
        return await self._stream(request, prompted, events)

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = read_completion(await read_json(request))
        model = self._model(body.model)
        self._engines.check_alive()
        prompts = self._prompts(body.prompt)
        request_id = new_request_id("cmpl", body.request_id or request.headers.get("X-Request-Id"))
        prompted = []
        for ids in prompts:
            self._answering.check_ids(ids)
            limit = self._answering.limit(ids, body.max_tokens)
            parameters = self._answering.parameters(body, limit=limit, alternatives=body.logprobs)
            salt = body.cache_salt or ""
            prompted.append(Prompted(request_id, model, ids, body, parameters, body.skip_special_tokens, salt))
        name = model or self._model_name
        if not body.stream:
            answers = await self._sample(prompted)
            return json_reply(self._writer.completion(body, request_id, name, answers, len(prompted)))
        if len(prompted) > 1:
            raise Unsupported("a stream of several prompts")
        events = CompletionStream(self._answering, self._writer, prompted[0], request_id, name, body=body)
        return await self._stream(request, prompted[0], events)

    async def generate(self, request: web.Request) -> web.StreamResponse:
        body = read_generate(await read_json(request))
        model = self._model(body.model)
        self._engines.check_alive()
        sampling, ids, longest = body.sampling_params, body.token_ids, self._engines.max_model_len
        self._answering.check_ids(ids)
        if len(ids) >= longest:
            more = "" if len(ids) > longest else " plus the number of requested output tokens (at least 1)"
            raise Refusal(
                f"The decoder prompt (length {len(ids)}){more} is longer than the maximum model length of {longest}."
            )
        wanted = sampling.max_tokens if sampling.max_tokens is not None else longest
        limit = min(wanted, longest - len(ids))
        parameters = self._answering.parameters(sampling, limit=limit, alternatives=sampling.logprobs, ranks=True)
        request_id = new_request_id("generate-tokens", body.request_id or request.headers.get("X-Request-Id"))
        skip, salt = sampling.skip_special_tokens, body.cache_salt or ""
        prompted = Prompted(request_id, model, ids, sampling, parameters, skip, salt)
        name = model or self._model_name
        if not body.stream:
            return json_reply(self._writer.generate(body, request_id, name, await self._sample([prompted])))
        if self._profile.generate is GenerateShape.MINIMAL:
            raise Unsupported("streaming of /inference/v1/generate in this release")
        events = GenerateStream(self._answering, self._writer, prompted, request_id, name, body=body)
        return await self._stream(request, prompted, events)

    async def _sample(self, prompted: Sequence[Prompted]) -> list[Answer]:
        wanted = [(each, index) for each in prompted for index in range(each.body.n or 1)]
        running = [asyncio.ensure_future(self._engines.generate(each.asked(index))) for each, index in wanted]
        try:
            generations = await asyncio.gather(*running)
        except BaseException:
            for task in running:
                task.cancel()
            raise
        return [
            self._answering.read(generation, each, index)
            for index, (generation, (each, _)) in enumerate(zip(generations, wanted, strict=True))
        ]

    async def _stream(self, request: web.Request, prompted: Prompted, events: EventStream) -> web.StreamResponse:
        head = {"Content-Type": "text/event-stream; charset=utf-8"}
        response = web.StreamResponse(headers=head)
        await response.prepare(request)
        try:
            asked = [prompted.asked(index) for index in range(prompted.body.n or 1)]
            async for index, generation in self._merged(asked):
                for chunk in events.chunks(index, generation):
                    await response.write(chunk)
            for chunk in events.closing():
                await response.write(chunk)
        except Refusal as refusal:
            for chunk in events.failure(refusal):
                await response.write(chunk)
        await response.write_eof()
        return response

    async def _merged(self, asked: Sequence[Asked]) -> AsyncIterator[tuple[int, Generation]]:
        streams = [self._engines.stream(each) for each in asked]
        if len(streams) == 1:
            async for generation in streams[0]:
                yield 0, generation
            return
        arrived: asyncio.Queue[tuple[int, Generation | Refusal]] = asyncio.Queue()

        async def forward(index: int, stream: AsyncIterator[Generation]) -> None:
            try:
                async for generation in stream:
                    arrived.put_nowait((index, generation))
            except Refusal as refusal:
                arrived.put_nowait((index, refusal))

        tasks = [asyncio.ensure_future(forward(index, stream)) for index, stream in enumerate(streams)]
        left = len(tasks)
        try:
            while left:
                index, news = await arrived.get()
                if isinstance(news, Refusal):
                    raise news
                left -= news.finish_reason is not None
                yield index, news
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # -- text ----------------------------------------------------------------------------------------------------------

    async def tokenize(self, request: web.Request) -> web.StreamResponse:
        body = read_tokenize(await read_json(request))
        self._model(body.model)
        if isinstance(body, TokenizeText):
            ids = self._encoder.encode(body.prompt)
        else:
            ids = self._encoder.encode(self._rendered(body))
        names = self._texts.names(ids) if body.return_token_strs else None
        longest = self._engines.max_model_len
        return json_reply({"count": len(ids), "max_model_len": longest, "tokens": ids, "token_strs": names})

    async def detokenize(self, request: web.Request) -> web.StreamResponse:
        body = read_as(DetokenizeBody, await read_json(request))
        self._model(body.model)
        known = [index for index in body.tokens if index < self._texts.size]
        return json_reply({"prompt": self._texts.decode(known)})

    async def render_chat(self, request: web.Request) -> web.StreamResponse:
        body = read_chat(await read_json(request))
        self._model(body.model)
        text = self._rendered(body)
        ids = self._encoder.encode(text)
        if self._profile.render is RenderShape.CONVERSATION:
            conversation = [message.model_dump(exclude_none=True) for message in body.messages]
            return json_reply([conversation, [{"prompt": text, "prompt_token_ids": ids}]])
        return json_reply(self._generate_request("chatcmpl", body, ids, body.limit, body.alternatives))

    async def render_completion(self, request: web.Request) -> web.StreamResponse:
        body = read_completion(await read_json(request))
        self._model(body.model)
        prompts = self._prompts(body.prompt)
        if self._profile.render is RenderShape.CONVERSATION:
            return json_reply([{"prompt_token_ids": ids} for ids in prompts])
        return json_reply(
            [self._generate_request("cmpl", body, ids, body.max_tokens, body.logprobs) for ids in prompts]
        )

    def _generate_request(
        self, prefix: str, body: Any, ids: Sequence[int], wanted: int | None, alternatives: int | None
    ) -> Json:
        limit = self._answering.limit(ids, wanted)
        parameters = self._answering.parameters(body, limit=limit, alternatives=alternatives)
        sampling: Json = {
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "repetition_penalty": 1.0,
            "temperature": parameters.temperature,
            "top_p": parameters.top_p,
            "min_p": 0.0,
            "stop": list(parameters.stop),
            "stop_token_ids": list(parameters.stop_token_ids),
            "max_tokens": limit,
            "output_kind": 1 if body.stream else 2,
            "skip_clone": True,
            "bad_words": [],
            "skip_reading_prefix_cache": False,
        }
        # What equals the default of vLLM's SamplingParams is left out.
        given = {"n": body.n, "seed": body.seed, "logprobs": alternatives, "top_k": body.top_k}
        sampling |= {name: value for name, value in given.items() if value not in (None, 1 if name == "n" else None, 0)}
        if body.ignore_eos:
            sampling["ignore_eos"] = True
        if isinstance(body, ChatBody) and body.calls_tools:
            sampling["skip_special_tokens"] = False
        reply = {
            "request_id": new_request_id(prefix, body.request_id),
            "token_ids": list(ids),
            "token_offsets": None,
            "features": None,
            "content_parts": None,
            "sampling_params": sampling,
            "model": body.model,
            "stream": bool(body.stream),
            "stream_options": body.stream_options.model_dump() if body.stream_options else None,
            "cache_salt": body.cache_salt,
            "priority": body.priority,
            "kv_transfer_params": None,
        }
        if self._profile.generate in (GenerateShape.COUNTED, GenerateShape.BY_TOKEN):
            reply["ec_transfer_params"] = None
        if self._profile.generate is GenerateShape.BY_TOKEN:
            reply |= {"reasoning_ended": None, "reasoning_parser_kwargs": None}
            reply |= {"return_token_ids": None, "output_mode": "tokens"}
        return reply

    def _rendered(self, body: Conversation) -> str:
        if body.chat_template is not None:
            raise Unsupported("chat_template in a request")
        if not body.messages:
            raise Refusal("Cannot apply chat template to an empty conversation. Provide at least one message.")
        messages = [self._flat(message) for message in body.messages]
        tools = [tool.model_dump() for tool in body.tools or ()]
        return self._render(messages, tools, body.add_generation_prompt)

    def _flat(self, message: Message) -> Json:
        """Text parts joined and tool arguments parsed, as vLLM does before it renders."""
        flat = message.model_dump()
        if isinstance(message.content, list):
            if any(part.get("type", "text") != "text" for part in message.content):
                raise Refusal(f"{self._model_name} is not a multimodal model")
            flat["content"] = "\n".join(str(part.get("text", "")) for part in message.content)
        for call in flat.get("tool_calls") or ():
            function = call.get("function", call)
            if isinstance(function.get("arguments"), str):
                function["arguments"] = _arguments(function["arguments"])
        return flat

    def _prompts(self, prompt: Any) -> list[list[int]]:
        if isinstance(prompt, str):
            return [self._encoder.encode(prompt)]
        if not prompt:
            raise Refusal("You must pass at least one prompt")
        if isinstance(prompt[0], int):
            return [list(prompt)]
        return [self._encoder.encode(each) if isinstance(each, str) else list(each) for each in prompt]

    # -- models --------------------------------------------------------------------------------------------------------

    async def models(self, request: web.Request) -> web.StreamResponse:
        del request
        cards = [self._card(self._model_name, self._root, None, self._engines.max_model_len)]
        cards += [self._card(each.name, each.path, self._model_name, None) for each in self._engines.adapters.values()]
        return json_reply({"object": "list", "data": cards})

    @property
    def model_name(self) -> str:
        return self._model_name

    def _card(self, name: str, root: str, parent: str | None, longest: int | None) -> Json:
        permission: Json = {
            "id": f"modelperm-{uuid.uuid4().hex[:16]}",
            "object": "model_permission",
            "created": int(time.time()),
            "allow_create_engine": False,
            "allow_sampling": True,
            "allow_logprobs": True,
            "allow_search_indices": False,
            "allow_view": True,
            "allow_fine_tuning": False,
            "organization": "*",
            "group": None,
            "is_blocking": False,
        }
        return {
            "id": name,
            "object": "model",
            "created": int(time.time()),
            "owned_by": "vllm",
            "root": root,
            "parent": parent,
            "max_model_len": longest,
            "permission": [permission],
        }

    def _model(self, name: str | None) -> str | None:
        """The adapter asked for; None for the base model."""
        if not name or name == self._model_name:
            return None
        if name not in self._engines.adapters:
            raise UnknownModel(name, [self._model_name], names_aliases=self._profile.names_aliases)
        return name


def _arguments(text: str) -> Any:
    """Parsed, unless it is not an object: then the template gets the text as it is."""
    try:
        parsed = json.loads(text)
    except ValueError:
        return text
    return parsed if isinstance(parsed, Mapping) else text
