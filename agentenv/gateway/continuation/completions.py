"""A chat request put as a completion of token ids, and the completion's answer put as a chat answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from agentenv.gateway.continuation.canonical import reasoning_of
from agentenv.messages import Wire

_CHAT_FIELDS = frozenset(
    {
        "messages",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "add_generation_prompt",
        "chat_template",
        "chat_template_kwargs",
        "documents",
        "reasoning_effort",
        "include_reasoning",
        "max_completion_tokens",
        "top_logprobs",
        "response_format",
        "n",
        "store",
        "metadata",
        "media_io_kwargs",
        "prediction",
        "return_prompt_text",
        "service_tier",
        "verbosity",
        "modalities",
    }
)
"""Fields with no meaning for a completion: the prompt holds what they said, or they are translated."""

_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "tool_choice": (None, "auto", "none"),
    "n": (None, 1),
    "response_format": (None, {"type": "text"}),
    "add_generation_prompt": (None, True),
    "continue_final_message": (None, False),
    "use_beam_search": (None, False),
    "echo": (None, False),
    "prompt_logprobs": (None,),
    "structured_outputs": (None,),
    "guided_json": (None,),
    "guided_regex": (None,),
    "guided_choice": (None,),
    "guided_grammar": (None,),
    "audio": (None,),
    "functions": (None, []),
    "function_call": (None, "auto", "none"),
    "truncate_prompt_tokens": (None,),
    "mm_processor_kwargs": (None, {}),
    "modalities": (None, ["text"]),
}
"""Fields that change what the chat route does beyond its prompt, with the values at which they do not."""


def only_chat_can(options: Mapping[str, Any]) -> bool:
    """Whether a request asks for what a completion of token ids cannot do: forced calls, grammars, several choices."""
    return any(name in options and options[name] not in neutral for name, neutral in _NEUTRAL.items())


def completion_body(
    options: Mapping[str, Any], prompt_ids: Sequence[int], max_tokens: int | None, *, skip_special_tokens: bool = True
) -> Wire:
    """The body for `/v1/completions` that samples after `prompt_ids` as the chat request would.

    `options` are the chat request's fields besides messages and tools, `max_tokens` what may be sampled where they set
    no limit: completions stop after 16 tokens by default, chats do not.
    """
    body: Wire = {name: value for name, value in options.items() if name not in _CHAT_FIELDS}
    body["prompt"] = list(prompt_ids)
    if not skip_special_tokens:
        body["skip_special_tokens"] = False
    limit = options.get("max_completion_tokens")
    limit = options.get("max_tokens") if limit is None else limit
    if (limit := max_tokens if limit is None else limit) is not None:
        body["max_tokens"] = limit
    if "logprobs" in body:
        body["logprobs"] = int(options.get("top_logprobs") or 0) if body["logprobs"] else None
    return body


def chat_answer(completion: Mapping[str, Any], message: Wire, *, top_logprobs: int | None = 0) -> Wire:
    """A chat completion from a text completion with one choice, and the message its ids were read as.

    `top_logprobs` is how many alternatives a token the chat request asked for; `None` leaves the logprobs out.

    A message that is text alone is the text the server gives: it ends before a stop string, while the ids go on, and
    leaves special tokens out where the chat route does.
    """
    choice = completion["choices"][0]
    reason = choice.get("finish_reason")
    if message.get("tool_calls"):
        reason = "tool_calls" if reason in ("stop", "length") else reason
    elif not reasoning_of(message) and isinstance(choice.get("text"), str):
        message = {**message, "content": choice["text"]}
    chosen = {name: value for name, value in choice.items() if name not in ("text", "prompt_token_ids", "logprobs")}
    chosen |= {
        "message": message,
        "finish_reason": reason,
        "logprobs": None if top_logprobs is None else _chat_logprobs(choice.get("logprobs"), top_logprobs),
    }
    answer = {name: value for name, value in completion.items() if name != "choices"}
    answer |= {"object": "chat.completion", "choices": [chosen]}
    answer["id"] = "chatcmpl-" + str(completion.get("id", "")).removeprefix("cmpl-")
    prompt_ids = choice.get("prompt_token_ids") or completion.get("prompt_token_ids")
    if prompt_ids is not None:
        answer["prompt_token_ids"] = prompt_ids
    return answer


def read_ids(completion: Mapping[str, Any]) -> list[int]:
    """The ids of a completion that say something: without the token that ended the turn, where one did.

    vLLM leaves that token out of the text of a chat answer; a reader that is given it writes it into the message.
    """
    choice = completion["choices"][0]
    ids = list(choice.get("token_ids") or ())
    ended = choice.get("finish_reason") == "stop" and not isinstance(choice.get("stop_reason"), str)
    return ids[:-1] if ended else ids


def _chat_logprobs(logprobs: Any, alternatives: int) -> Wire | None:
    """Log-probabilities in the chat format; the bytes are those of the token's text."""
    if not isinstance(logprobs, Mapping) or not isinstance(logprobs.get("tokens"), list):
        return None
    tops = logprobs.get("top_logprobs") or [None] * len(logprobs["tokens"])
    return {
        "content": [
            _entry(token, logprob)
            | {"top_logprobs": [_entry(*other) for other in islice((top or {}).items(), alternatives)]}
            for token, logprob, top in zip(logprobs["tokens"], logprobs["token_logprobs"], tops, strict=True)
        ]
    }


def _entry(token: str, logprob: float) -> Wire:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode(errors="replace"))}
