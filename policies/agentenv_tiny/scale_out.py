"""vLLM's routes between text and tokens (`--enable-scale-out`): what a request is prompted with, what ids say."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from agentenv_tiny.replies import chat_message, new_id
from agentenv_tiny.requests import ChatRequest, Json, RequestError, read_chat
from agentenv_tiny.sampling import SamplingParameters
from agentenv_tiny.vocabulary import Vocabulary


def rendered(prompt_ids: Sequence[int], sampling: SamplingParameters, model: str) -> Json:
    """The answer of /v1/chat/completions/render: a request for the token-in, token-out route."""
    return {
        "request_id": new_id("chatcmpl"),
        "token_ids": list(prompt_ids),
        "model": model,
        "stream": False,
        "sampling_params": {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "seed": sampling.seed,
            "stop": list(sampling.stop),
            "max_tokens": sampling.max_tokens,
        },
    }


def derendered(body: Json, vocabulary: Vocabulary, model: str) -> Json:
    """The answer of /v1/chat/completions/derender: sampled ids read as the chat route reads them.

    As vLLM's, it refuses an empty answer.

    Raises:
        RequestError: the body is not vLLM's `DerenderChatRequest`.
    """
    generated = body.get("generate_response")
    if not isinstance(generated, dict) or not isinstance(choices := generated.get("choices"), list):
        raise RequestError("generate_response.choices must be a list", param="generate_response")
    if not isinstance(body.get("chat_request"), dict):
        raise RequestError("chat_request must be the chat request the ids answer", param="chat_request")
    chat = read_chat(body["chat_request"])
    read = [_choice(choice, chat, vocabulary) for choice in choices]
    prompt, sampled = body.get("prompt_tokens") or 0, sum(len(choice["token_ids"]) for choice in choices)
    return {
        "id": str(generated.get("request_id") or new_id("chatcmpl")),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": read,
        "usage": {"prompt_tokens": prompt, "completion_tokens": sampled, "total_tokens": prompt + sampled},
    }


def _choice(choice: Any, chat: ChatRequest, vocabulary: Vocabulary) -> Json:
    ids = choice.get("token_ids") if isinstance(choice, dict) else None
    known = range(vocabulary.size)
    if not isinstance(ids, list) or not ids or not all(type(token) is int and token in known for token in ids):
        raise RequestError(f"token_ids must be a list of at least one id below {len(known)}", param="generate_response")
    return {
        "index": choice.get("index", 0),
        "message": chat_message(vocabulary.decode(ids), parse_tools=chat.parse_tools),
        "logprobs": None,
        "finish_reason": choice.get("finish_reason"),
        "stop_reason": choice.get("stop_reason"),
        "token_ids": ids if chat.options.return_token_ids else None,
    }
