"""Request bodies: vLLM's fields with vLLM's tolerance (pydantic's lax mode, unknown fields ignored)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from tests.support.fake_vllm.refusals import InvalidValue, Json, Refusal, Unsupported, malformed

TopLogprobs = Annotated[int, BeforeValidator(lambda value: 0 if value is None else value)]


class Body(BaseModel):
    model_config = ConfigDict(extra="allow")
    model: str | None = None


class StreamOptions(BaseModel):
    include_usage: bool | None = False
    continuous_usage_stats: bool | None = False


class Sampling(Body):
    """What chat and completions share."""

    n: int | None = 1
    seed: int | None = None
    stop: str | list[str] | None = []
    stop_token_ids: list[int] | None = []
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    ignore_eos: bool = False
    include_stop_str_in_output: bool = False
    skip_special_tokens: bool = True
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    return_token_ids: bool | None = None
    return_tokens_as_token_ids: bool | None = None
    return_weight_versions: bool = False
    cache_salt: str | None = None
    request_id: str | None = None
    priority: int = 0
    max_tokens: int | None = None
    echo: bool = False
    # Known only so that a value that would change the samples is refused.
    min_p: float | None = None
    min_tokens: int = 0
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    allowed_token_ids: list[int] | None = None
    bad_words: list[str] = []
    use_beam_search: bool = False
    prompt_logprobs: int | None = None
    truncate_prompt_tokens: int | None = None
    response_format: Json | None = None
    structured_outputs: Json | None = None

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def continuous_usage(self) -> bool:
        return self.include_usage and bool(self.stream_options and self.stream_options.continuous_usage_stats)


class FunctionDefinition(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str
    description: str | None = None
    parameters: Json | None = None


class Tool(BaseModel):
    type: Literal["function"] = "function"
    function: FunctionDefinition


class NamedFunction(BaseModel):
    name: str


class NamedToolChoice(BaseModel):
    type: Literal["function"] = "function"
    function: NamedFunction


class Message(BaseModel):
    model_config = ConfigDict(extra="allow")
    role: str
    content: str | list[Json] | None = None
    tool_calls: list[Json] | None = None


class Conversation(Body):
    """What is rendered with the chat template."""

    messages: list[Message]
    tools: list[Tool] | None = None
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    chat_template: str | None = None


class ChatBody(Sampling, Conversation):
    """POST /v1/chat/completions."""

    max_completion_tokens: int | None = None
    logprobs: bool | None = False
    top_logprobs: TopLogprobs = 0
    tool_choice: Literal["none", "auto", "required"] | NamedToolChoice | None = "none"
    parallel_tool_calls: bool | None = True
    return_prompt_text: bool | None = None

    @property
    def alternatives(self) -> int | None:
        """How many likely tokens to report beside each sampled one; None: no log-probabilities."""
        return self.top_logprobs if self.logprobs else None

    @property
    def limit(self) -> int | None:
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def answering_role(self) -> str:
        """Whose the answer is: without a generation prompt it is taken for more of the last message."""
        return "assistant" if self.add_generation_prompt else self.messages[-1].role

    @property
    def calls_tools(self) -> bool:
        return bool(self.tools) and self.tool_choice != "none"


TokenId = Annotated[int, Field(ge=0)]


class CompletionBody(Sampling):
    """POST /v1/completions."""

    prompt: list[TokenId] | list[list[TokenId]] | str | list[str] | None = None
    max_tokens: int | None = 16
    logprobs: int | None = None
    suffix: str | None = None


class GenerateSampling(Sampling):
    """`sampling_params` of /inference/v1/generate."""

    logprobs: int | None = None


class GenerateBody(Body):
    """POST /inference/v1/generate."""

    request_id: str | None = None
    token_ids: list[int] = Field(min_length=1)
    sampling_params: GenerateSampling
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    cache_salt: str | None = None
    return_token_ids: bool | None = None
    output_mode: Literal["tokens", "text"] = "tokens"


class TokenizeText(Body):
    prompt: str
    return_token_strs: bool | None = False


class TokenizeChat(Conversation):
    return_token_strs: bool | None = False


class DetokenizeBody(Body):
    tokens: list[TokenId]


class LoadLoraBody(BaseModel):
    lora_name: str
    lora_path: str
    load_inplace: bool = False


class UnloadLoraBody(BaseModel):
    lora_name: str


ModelT = TypeVar("ModelT", bound=BaseModel)
SamplingT = TypeVar("SamplingT", bound=Sampling)


def read_chat(data: Any) -> ChatBody:
    """Raises Refusal, in vLLM's order: what it checks by hand comes before the types."""
    if isinstance(data, dict):
        _check_salt(data)
        _check_stream_options(data)
        _check_top_logprobs(data)
        _check_tools(data)
        _check_generation_prompt(data)
    body = _validated(ChatBody, data)
    if isinstance(body.tool_choice, NamedToolChoice) or body.tool_choice == "required":
        raise Unsupported("forced tool calls")
    return _sampled(body)


def read_completion(data: Any) -> CompletionBody:
    """Raises Refusal."""
    if isinstance(data, dict):
        _check_salt(data)
        _check_stream_options(data)
        if data.get("prompt") in (None, ""):
            raise InvalidValue("Either prompt or prompt_embeds must be provided and non-empty.", "prompt")
    body = _validated(CompletionBody, data)
    if body.suffix is not None or body.echo:
        raise Unsupported("suffix or echo")
    return _sampled(body)


def read_generate(data: Any) -> GenerateBody:
    """Raises Refusal."""
    if isinstance(data, dict):
        _check_salt(data)
    body = _validated(GenerateBody, data)
    _sampled(body.sampling_params)
    return body


def read_tokenize(data: Any) -> TokenizeText | TokenizeChat:
    """Raises Refusal."""
    if isinstance(data, dict):
        _check_generation_prompt(data)
    if isinstance(data, dict) and "prompt" not in data and "messages" in data:
        return _validated(TokenizeChat, data)
    return _validated(TokenizeText, data)


def read_as(model: type[ModelT], data: Any) -> ModelT:
    """Raises Refusal."""
    return _validated(model, data)


def _validated(model: type[ModelT], data: Any) -> ModelT:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise malformed(error) from error


_NEUTRAL: Json = {
    "min_p": (None, 0.0),
    "min_tokens": (0,),
    "presence_penalty": (None, 0.0),
    "frequency_penalty": (None, 0.0),
    "repetition_penalty": (None, 1.0),
    "logit_bias": (None, {}),
    "allowed_token_ids": (None,),
    "bad_words": ([],),
    "use_beam_search": (False,),
    "prompt_logprobs": (None,),
    "truncate_prompt_tokens": (None,),
    "response_format": (None, {"type": "text"}),
    "structured_outputs": (None,),
}


def _sampled(body: SamplingT) -> SamplingT:
    for name, neutral in _NEUTRAL.items():
        if getattr(body, name) not in neutral:
            raise Unsupported(name)
    return body


def _check_salt(data: Json) -> None:
    salt = data.get("cache_salt")
    if salt is None:
        return
    if not isinstance(salt, str) or not salt:
        raise InvalidValue("Parameter 'cache_salt' must be a non-empty string if provided.", "cache_salt")
    if len(salt) > 128 or set(salt) & set("@/\\\0"):
        raise InvalidValue(
            "Parameter 'cache_salt' must be at most 128 characters and must not contain '@', '/', '\\\\', or NUL.",
            "cache_salt",
        )


def _check_stream_options(data: Json) -> None:
    if data.get("stream_options") and not data.get("stream"):
        raise InvalidValue("Stream options can only be defined when `stream=True`.", "stream_options")


def _check_top_logprobs(data: Json) -> None:
    top = data.get("top_logprobs")
    if top is None:
        return
    if not isinstance(top, (int, float)):
        raise InvalidValue("`top_logprobs` must be an integer.", "top_logprobs", value=top)
    if top < 0 and top != -1:
        raise InvalidValue("`top_logprobs` must be a positive value or -1.", "top_logprobs", value=top)
    if top and not data.get("logprobs"):
        raise InvalidValue("when using `top_logprobs`, `logprobs` must be set to true.", "top_logprobs")


def _check_tools(data: Json) -> None:
    if data.get("tools") == []:
        raise InvalidValue(
            "`tools` must not be an empty array. Either provide at least one tool or omit the field entirely.", "tools"
        )
    if "tool_choice" not in data and data.get("tools"):
        data["tool_choice"] = "auto"
    choice = data.get("tool_choice")
    if choice in (None, "none"):
        return
    if data.get("tools") is None:
        raise InvalidValue("When using `tool_choice`, `tools` must be set.", "tool_choice")
    if choice not in ("auto", "required") and not isinstance(choice, dict):
        raise InvalidValue(
            f'Invalid value for `tool_choice`: {choice}! Only named tools, "none", "auto" or "required" are supported.',
            "tool_choice",
        )


def _check_generation_prompt(data: Json) -> None:
    if data.get("continue_final_message") and data.get("add_generation_prompt"):
        raise Refusal("Cannot set both `continue_final_message` and `add_generation_prompt` to True.")
    if data.get("continue_final_message"):
        raise Unsupported("continue_final_message")
