"""Requests to which a server gives one answer. They are greedy, so that the tokens can be compared too."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.vllm.conformance.client import Client, Json, Reply

MODEL = "tiny"
USER: list[Json] = [{"role": "user", "content": "12*34"}]
TOOLS: list[Json] = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
CALLED: list[Json] = [
    {"role": "system", "content": "Compute."},
    {"role": "user", "content": "1+2"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "add", "arguments": '{"a":1, "b":2}'}}],
    },
    {"role": "tool", "tool_call_id": "a", "content": "3"},
]
PROMPT = [70, 71, 72, 20, 21]

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
GENERATE = "/inference/v1/generate"
RENDER = "/v1/chat/completions/render"
DERENDER = "/v1/chat/completions/derender"


@dataclass(frozen=True, slots=True)
class Case:
    """One request. `data` are bytes sent as they are."""

    name: str
    path: str
    body: Any = None
    method: str = "POST"
    data: bytes | None = None
    kind: str = field(default="application/json")

    async def ask(self, client: Client) -> Reply:
        if self.method != "POST":
            return await client.call(self.method, self.path)
        return await client.post(self.path, self.body, data=self.data, kind=self.kind)


def chat(name: str, **fields: Any) -> Case:
    return Case(f"chat: {name}", CHAT, {"model": MODEL, "messages": USER, "max_tokens": 4, "temperature": 0, **fields})


def completion(name: str, **fields: Any) -> Case:
    body = {"model": MODEL, "prompt": PROMPT, "max_tokens": 4, "temperature": 0, **fields}
    return Case(f"completions: {name}", COMPLETIONS, body)


def generation(name: str, sampling: Json | None = None, **fields: Any) -> Case:
    sampling = {"max_tokens": 4, "temperature": 0, **(sampling or {})}
    return Case(f"generate: {name}", GENERATE, {"token_ids": PROMPT, "sampling_params": sampling, **fields})


def called(*pieces: list[int]) -> Json:
    """A whole reply of the generate route with these ids."""
    return {
        "request_id": "r",
        "choices": [{"index": index, "finish_reason": "stop", "token_ids": ids} for index, ids in enumerate(pieces)],
    }


CALL = [46, 348, 70, 94, 226, 510, 265, 279, 266, 70, 73, 73, 280, 283, 276, 70, 262, 226, 356, 281, 511]
"""`I say <tool_call>{"name": "add", "arguments": {"a": 12"}</tool_call>`: not JSON."""
GOOD_CALL = [510, 265, 279, 266, 70, 73, 73, 280, 283, 276, 70, 262, 226, 356, 17, 263, 71, 266, 93, 281, 511]
"""`<tool_call>{"name": "add", "arguments": {"a": 12, "b": "x"}}</tool_call>`."""
ASKED: Json = {"model": MODEL, "messages": USER, "tools": TOOLS, "return_token_ids": True}

REPLIES = [
    chat("plain"),
    chat("token ids and likely tokens", logprobs=True, top_logprobs=3, return_token_ids=True),
    chat("log-probabilities alone", logprobs=True),
    chat("tokens as ids", logprobs=True, top_logprobs=1, return_tokens_as_token_ids=True),
    chat("prompt text", return_prompt_text=True),
    chat("a character that is not whole", max_tokens=24, ignore_eos=True, logprobs=True, return_token_ids=True),
    chat("tools offered", tools=TOOLS, return_token_ids=True, max_tokens=12, ignore_eos=True),
    chat("tools offered, none wanted", tools=TOOLS, tool_choice="none", return_prompt_text=True),
    chat("a call and its result", messages=CALLED, tools=TOOLS, return_prompt_text=True, return_token_ids=True),
    chat("text in parts", messages=[{"role": "user", "content": [{"type": "text", "text": "12"}]}]),
    chat("an unknown role", messages=[{"role": "critic", "content": "a"}], return_prompt_text=True),
    chat("numbers as text", max_tokens="3", temperature="0"),
    chat("more than there is room for", max_tokens=510, ignore_eos=True),
    chat("an unknown field", unheard_of=1),
    chat("no generation prompt", add_generation_prompt=False, return_prompt_text=True),
    chat("a salt", cache_salt="v1"),
    chat("stream", stream=True),
    chat("stream with everything", stream=True, logprobs=True, top_logprobs=2, return_token_ids=True),
    chat("stream with usage", stream=True, stream_options={"include_usage": True}),
    chat(
        "stream with usage in each chunk",
        stream=True,
        stream_options={"include_usage": True, "continuous_usage_stats": True},
    ),
    chat("stream with tools", stream=True, tools=TOOLS, return_token_ids=True, max_tokens=12, ignore_eos=True),
    chat("stream of prompt text", stream=True, return_prompt_text=True),
    completion("plain"),
    completion("token ids and log-probabilities", logprobs=2, return_token_ids=True),
    completion("no alternatives", logprobs=0),
    completion("text", prompt="12 times"),
    completion("two prompts", prompt=["12 times", "ab"], return_token_ids=True),
    completion("two lists of ids", prompt=[[70, 71], [72]], logprobs=1),
    completion("all there is room for", max_tokens=None, ignore_eos=True, prompt=[70] * 500),
    completion("the last token there is room for", prompt=[70] * 511, max_tokens=1),
    completion("a stop string", max_tokens=40, stop=["4", "6", "8"], ignore_eos=True, return_token_ids=True),
    completion("a stop token", max_tokens=200, stop_token_ids=[*range(100, 512)], return_token_ids=True),
    completion("a stop string kept", max_tokens=40, stop=["4", "6", "8"], include_stop_str_in_output=True),
    completion("special tokens shown", max_tokens=40, ignore_eos=True, skip_special_tokens=False),
    completion("stream", stream=True),
    completion("stream with everything", stream=True, logprobs=1, return_token_ids=True),
    completion("stream with usage", stream=True, stream_options={"include_usage": True}),
    completion("stream cut by a stop string", stream=True, max_tokens=40, stop=["4", "6", "8"], ignore_eos=True),
    generation("plain"),
    generation("log-probabilities", {"logprobs": 2}, return_token_ids=True),
    generation("no alternatives", {"logprobs": 0}),
    generation("as text", {"logprobs": 1}, output_mode="text"),
    generation("stream", {"logprobs": 1}, stream=True, return_token_ids=True),
    generation("stream with usage", stream=True, stream_options={"include_usage": True}),
    generation("stream of text", stream=True, output_mode="text"),
    generation("all there is room for", {"max_tokens": 600, "ignore_eos": True}, token_ids=[70] * 500),
    Case("render: chat", RENDER, {"model": MODEL, "messages": CALLED, "tools": TOOLS, "max_tokens": 3}),
    Case("render: completion", "/v1/completions/render", {"model": MODEL, "prompt": "12 times", "max_tokens": 3}),
    Case(
        "derender: a call",
        DERENDER,
        {"generate_response": called([46, *GOOD_CALL, 1]), "chat_request": ASKED, "prompt_token_ids": [3, 1, 4]},
    ),
    Case("derender: no JSON", DERENDER, {"generate_response": called([*CALL]), "chat_request": ASKED}),
    Case(
        "derender: two calls and no end",
        DERENDER,
        {"generate_response": called([*GOOD_CALL, *GOOD_CALL[:-1]]), "chat_request": ASKED},
    ),
    Case(
        "derender: a chunk",
        DERENDER,
        {
            "stream": True,
            "generate_chunk": {"request_id": "r", "choices": [{"index": 0, "token_ids": GOOD_CALL[:9]}]},
            "chat_request": ASKED,
            "prompt_token_ids": [3, 1, 4],
        },
    ),
    Case("tokenize: text", "/tokenize", {"prompt": "<|end|>12 times", "return_token_strs": True}),
    Case("tokenize: messages", "/tokenize", {"messages": CALLED, "tools": TOOLS}),
    Case("detokenize", "/detokenize", {"tokens": [1, 70, 71, 9999]}),
    Case("models", "/v1/models", method="GET"),
    Case("version", "/version", method="GET"),
    Case("health", "/health", method="GET"),
    Case("ping", "/ping", method="GET"),
    Case("load", "/load", method="GET"),
    Case("is_paused", "/is_paused", method="GET"),
    Case("is_sleeping", "/is_sleeping", method="GET"),
    Case("weight_info", "/weight_info", method="GET"),
    Case("get_world_size", "/get_world_size", method="GET"),
    Case("reset_prefix_cache", "/reset_prefix_cache"),
    Case("abort_requests: none running", "/abort_requests", {}),
]
"""What is answered with status 200."""

REFUSALS = [
    chat("no such model", model="nope"),
    chat("no messages", messages=[]),
    chat("messages that are text", messages="hello"),
    chat("an image", messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]),
    chat("nothing to sample", max_tokens=0),
    chat("max_tokens of words", max_tokens="many"),
    chat("more than the context", max_tokens=600),
    chat("too long a prompt", messages=[{"role": "user", "content": "12 " * 600}]),
    chat("negative temperature", temperature=-1),
    chat("temperature of words", temperature="hot"),
    chat("top_p of zero", top_p=0),
    chat("top_k of minus five", top_k=-5),
    chat("top_logprobs without logprobs", top_logprobs=2),
    chat("too many likely tokens", logprobs=True, top_logprobs=21),
    chat("no answers wanted", n=0),
    chat("two greedy answers", n=2),
    chat("an empty stop string", stop=[""]),
    chat("stream options without a stream", stream_options={"include_usage": True}),
    chat("an empty list of tools", tools=[]),
    chat("a tool without a function", tools=[{"type": "function"}]),
    chat("a choice of tools without tools", tool_choice="auto"),
    chat("an unknown choice of tools", tools=TOOLS, tool_choice="always"),
    chat("an empty salt", cache_salt=""),
    chat("a salt with a slash", cache_salt="a/b"),
    chat("two ways to end the prompt", add_generation_prompt=True, continue_final_message=True),
    Case("chat: no JSON", CHAT, data=b"{no"),
    Case("chat: a list", CHAT, data=b"[1]"),
    Case("chat: another content type", CHAT, data=b"{}", kind="text/plain"),
    Case("chat: GET", CHAT, method="GET"),
    completion("no such model", model="nope"),
    completion("no prompt", prompt=None),
    completion("an empty prompt", prompt=""),
    completion("an empty list", prompt=[]),
    completion("an empty list of ids", prompt=[[]]),
    completion("an id beyond the vocabulary", prompt=[70, 512]),
    completion("a negative id", prompt=[-1]),
    completion("too long a prompt", prompt=[70] * 600),
    completion("no room", prompt=[70] * 512, max_tokens=1),
    completion("too many likely tokens", logprobs=21),
    completion("an object for a prompt", prompt={"text": "a"}),
    generation("no such model", model="nope"),
    generation("no ids", token_ids=[]),
    generation("an id beyond the vocabulary", token_ids=[600]),
    generation("too long a prompt", token_ids=[70] * 600),
    generation("no room", token_ids=[70] * 512),
    Case("generate: no parameters", GENERATE, {"token_ids": [1]}),
    Case("derender: no ids", DERENDER, {"generate_response": called([]), "chat_request": ASKED}),
    Case("derender: no request", DERENDER, {"generate_response": called([70])}),
    Case(
        "derender: a chunk without its prompt",
        DERENDER,
        {"stream": True, "generate_chunk": called([70]), "chat_request": ASKED},
    ),
    Case("tokenize: nothing", "/tokenize", {}),
    Case("tokenize: no such model", "/tokenize", {"model": "nope", "prompt": "a"}),
    Case("detokenize: words", "/detokenize", {"tokens": ["a"]}),
    Case("a path that is not there", "/v1/nope", {}),
    Case("models: POST", "/v1/models", {}),
    Case("pause: an unknown mode", "/pause?mode=nap"),
    Case("sleep: an unknown level", "/sleep?level=9"),
    Case("collective_rpc: no method", "/collective_rpc", {}),
    Case("collective_rpc: no such method", "/collective_rpc", {"method": "nope"}),
    Case("collective_rpc: no JSON", "/collective_rpc", data=b"x"),
    Case("inference abort: nobody named", "/inference/v1/abort_requests", {}),
    Case("update_weight_version: a number", "/update_weight_version", {"new_version": 3}),
    Case("update_weights: without a start", "/update_weights", {"update_info": {"path": "/nowhere"}}),
    Case("finish_weight_update: without a start", "/finish_weight_update", {}),
    Case("init_weight_transfer_engine: nothing", "/init_weight_transfer_engine", {}),
    Case("load_lora_adapter: no such folder", "/v1/load_lora_adapter", {"lora_name": "a", "lora_path": "/nowhere"}),
    Case("load_lora_adapter: no path", "/v1/load_lora_adapter", {"lora_name": "a"}),
    Case("load_lora_adapter: the base model's name", "/v1/load_lora_adapter", {"lora_name": MODEL, "lora_path": "/x"}),
    Case("unload_lora_adapter: not loaded", "/v1/unload_lora_adapter", {"lora_name": "a"}),
]
"""What is refused."""

CASES = {case.name: case for case in (*REPLIES, *REFUSALS)}
