from __future__ import annotations

import json
from typing import Any

import pytest

from agentenv.errors import ConfigError, EnvironmentFailure, ModelError
from agentenv.messages import Message, Part, Role, assistant, tool_result, user
from agentenv.policy.contract import Sampling, Session
from agentenv.policy.registry import make_policy
from agentenv.tokens import VersionSpan
from agentenv.tools import Tool
from agentenv_openai import OpenAIPolicy, Retry
from tests.policy.openai_support import HELLO, TOKENS, always, ask, completion_body, endpoint
from tests.support.mock_openai import Fault, FaultRule, MockOpenAI, Reply, ToolCall


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


async def test_a_conversation_with_tools_goes_out_as_openai_has_it_and_comes_back_as_a_message() -> None:
    reply = Reply(None, (ToolCall("add", '{"a": 1, "b": 2}', "call_7"),))
    tool = Tool.of(add).spec
    async with MockOpenAI([reply, "It is 3."]) as server, OpenAIPolicy(server.base_url) as policy:
        sampling = Sampling(temperature=0.5, top_p=0.9, max_tokens=200, stop=("END",), seed=3, extra={"top_k": 5})
        first = await ask(policy, tools=(tool,), sampling=sampling)
        call = first.message.tool_calls[0]
        assert (call.id, call.name, call.arguments) == ("call_7", "add", '{"a": 1, "b": 2}')
        assert (first.finish_reason, first.model, first.attempts, first.tokens) == ("tool_calls", "mock", 1, None)
        second = await ask(policy, (*HELLO, first.message, tool_result("call_7", "3", "add")), (tool,))
        assert second.message == assistant("It is 3.")
        assert second.usage.completion_tokens == len("It is 3.") + 1
        body = dict(server.requests[0].body)
        assert body.pop("tools")[0]["function"]["name"] == "add"
        assert body == {
            "model": "mock",
            "messages": [{"role": "user", "content": "hello"}],
            "temperature": 0.5,
            "top_p": 0.9,
            "max_tokens": 200,
            "stop": ["END"],
            "seed": Session("s", 0).request_seed(3, turn=0),
            "top_k": 5,
        }
        assert server.requests[1].messages[1]["tool_calls"][0]["id"] == "call_7"
        assert server.requests[1].session == "s"


async def test_images_and_unknown_fields_travel_untouched() -> None:
    picture = Part.image_url("data:image/png;base64,AAAA")
    seen = Message(Role.USER, (Part.text("what is it?"), picture))
    async with MockOpenAI(["a dot"]) as server, OpenAIPolicy(server.base_url) as policy:
        await ask(policy, (seen,))
        assert server.requests[0].messages[0]["content"][1] == picture.to_wire()


async def test_token_ids_logprobs_and_the_prompt_become_the_token_record() -> None:
    async with MockOpenAI([Reply("ab", logprobs=(-0.1, -0.2, -0.3))]) as server:
        async with OpenAIPolicy(server.base_url) as policy:
            tokens = (await ask(policy, sampling=TOKENS)).tokens
        asked = server.requests[0].body
        assert (asked["logprobs"], asked["return_token_ids"], asked["return_weight_versions"]) == (True, True, True)
    assert tokens is not None
    assert tokens.sampled_ids == (97, 98, 260)
    assert tokens.logprobs == (-0.1, -0.2, -0.3)
    assert tokens.prompt_ids == (257, *b"hello", 260, 258)
    assert tokens.versions == (VersionSpan(0, 0, 3),)


def with_tokens(**changes: Any) -> dict[str, Any]:
    """A body with a token record of three tokens, some fields of it changed or (`None`) left out."""
    logprobs = {"content": [{"token": "x", "logprob": value} for value in (-0.1, -0.2, -0.3)]}
    fields: dict[str, Any] = {"token_ids": [1, 2, 3], "logprobs": logprobs, "prompt_token_ids": [9, 8]} | changes
    prompt = fields.pop("prompt_token_ids")
    usage = fields.pop("usage", None)
    body = completion_body(**{name: value for name, value in fields.items() if value is not None})
    return body | ({"prompt_token_ids": prompt} if prompt is not None else {}) | ({"usage": usage} if usage else {})


async def test_weight_versions_are_spans_when_the_endpoint_gives_them() -> None:
    spans = [{"version": 4, "start": 0, "end": 2}, {"version": 5, "start": 2, "end": 3}]
    async with endpoint(always(with_tokens(weight_versions=spans))) as url, OpenAIPolicy(url) as policy:
        tokens = (await ask(policy, sampling=TOKENS)).tokens
    assert tokens is not None
    assert tokens.versions == (VersionSpan(4, 0, 2), VersionSpan(5, 2, 3))


@pytest.mark.parametrize(("field", "version"), [("17", 17), (17, 17), ("default", 0), (None, 0)])
async def test_one_version_for_the_whole_answer_is_one_span(field: Any, version: int) -> None:
    async with endpoint(always(with_tokens() | {"weight_version": field})) as url, OpenAIPolicy(url) as policy:
        tokens = (await ask(policy, sampling=TOKENS)).tokens
    assert tokens is not None
    assert tokens.versions == (VersionSpan(version, 0, 3),)


async def test_the_weight_version_may_come_as_a_header() -> None:
    chat = always(with_tokens(), headers={"X-Weight-Version": "12"})
    async with endpoint(chat) as url, OpenAIPolicy(url) as policy:
        tokens = (await ask(policy, sampling=TOKENS)).tokens
    assert tokens is not None
    assert tokens.versions == (VersionSpan(12, 0, 3),)


LOGPROB = {"token": "x", "logprob": -0.1}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"logprobs": {"content": [LOGPROB, LOGPROB]}}, "3 token ids but 2 logprobs"),
        ({"logprobs": {"content": [LOGPROB] * 5}}, "3 token ids but 5 logprobs"),
        ({"logprobs": None}, "3 token ids but 0 logprobs"),
        ({"token_ids": None}, "prompt_token_ids but no token_ids"),
        ({"prompt_token_ids": None}, "token_ids but no prompt_token_ids"),
        ({"usage": {"completion_tokens": 7}}, "counts 7 completion tokens but sent 3 token ids"),
        ({"token_ids": [1, "2", 3]}, "no list of whole numbers"),
        ({"token_ids": 3}, "no list of whole numbers"),
        ({"logprobs": {"content": [LOGPROB, LOGPROB, {"logprob": float("nan")}]}}, "not finite"),
        ({"logprobs": {"content": [LOGPROB, LOGPROB, {}]}}, "cannot be read"),
        ({"weight_versions": [{"version": 1, "start": 0, "end": 2}]}, "cover 2 of 3"),
        ({"weight_versions": [{"version": 1}]}, "version, start, end"),
        ({"weight_versions": [{"version": "x", "start": 0, "end": 3}]}, "no whole number"),
    ],
)
async def test_a_token_record_that_does_not_fit_is_a_model_error(changes: dict[str, Any], said: str) -> None:
    async with endpoint(always(with_tokens(**changes))) as url, OpenAIPolicy(url) as policy:
        with pytest.raises(ModelError, match=said):
            await ask(policy, sampling=TOKENS)
        assert policy.stats.requests == 1


@pytest.mark.parametrize("fault", [Fault.FEWER_LOGPROBS_THAN_TOKENS, Fault.FEWER_LOGPROBS_THAN_IDS])
async def test_fewer_logprobs_than_tokens_are_never_trained_on(fault: Fault) -> None:
    async with MockOpenAI(["abc"], faults=[FaultRule(fault)]) as server, OpenAIPolicy(server.base_url) as policy:
        with pytest.raises(ModelError, match="3 logprobs"):
            await ask(policy, sampling=TOKENS)


async def test_an_endpoint_that_gives_no_ids_answers_without_a_token_record() -> None:
    async with endpoint(always(completion_body())) as url, OpenAIPolicy(url) as policy:
        assert (await ask(policy, sampling=TOKENS)).tokens is None


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": 7},
        {"role": "assistant", "content": None, "tool_calls": [{"type": "function"}]},
        {"role": "assistant", "content": None, "tool_calls": 5},
        {"role": "assistant", "content": None, "tool_calls": ["add"]},
        {"role": "user", "content": "hi"},
        {"role": "poet", "content": "hi"},
    ],
)
async def test_a_malformed_assistant_message_is_a_model_error(message: dict[str, Any]) -> None:
    async with endpoint(always(completion_body(message))) as url, OpenAIPolicy(url) as policy:
        with pytest.raises(ModelError, match=r"malformed assistant message|answered as 'user'"):
            await ask(policy)


async def test_malformed_tool_arguments_pass_through_for_the_environment_to_answer() -> None:
    rule = FaultRule(Fault.MALFORMED_TOOL_ARGUMENTS)
    reply = Reply(None, (ToolCall("add", '{"a": 1}'),))
    async with MockOpenAI([reply], faults=[rule]) as server, OpenAIPolicy(server.base_url) as policy:
        arguments = (await ask(policy)).message.tool_calls[0].arguments
    with pytest.raises(ValueError):
        json.loads(arguments)


async def test_arguments_sent_as_an_object_and_calls_without_an_id_are_put_right() -> None:
    calls = [{"function": {"name": "add", "arguments": {"a": 1}}}, {"function": {"name": "add", "arguments": "{}"}}]
    body = completion_body({"role": "assistant", "content": None, "tool_calls": calls})
    async with endpoint(always(body)) as url, OpenAIPolicy(url) as policy:
        read = (await ask(policy, (*HELLO, assistant("x"), user("y")))).message.tool_calls
    assert [(call.id, call.arguments) for call in read] == [("call_1_0", '{"a": 1}'), ("call_1_1", "{}")]


async def test_a_conversation_that_is_no_json_is_the_environments_failure() -> None:
    broken = Message(Role.USER, (Part({"type": "text", "text": object()}),))
    async with MockOpenAI(["hi"]) as server, OpenAIPolicy(server.base_url) as policy:
        with pytest.raises(EnvironmentFailure, match="cannot be sent as JSON"):
            await ask(policy, (broken,))


async def test_the_model_is_asked_for_when_the_endpoint_serves_one() -> None:
    async with endpoint(always(completion_body()), models=("only",)) as url, OpenAIPolicy(url) as policy:
        assert policy.model == "only"
        assert policy.name == f"openai:{url}#only"


@pytest.mark.parametrize(("models", "said"), [(("a", "b"), "it serves a, b"), ((), "does not say which")])
async def test_the_model_must_be_named_otherwise(models: tuple[str, ...], said: str) -> None:
    async with endpoint(always(completion_body()), models=models) as url:
        with pytest.raises(ConfigError, match=said):
            await OpenAIPolicy(url).open()


async def test_a_server_that_is_not_there_is_one_clear_error_at_once() -> None:
    with pytest.raises(ModelError, match=r"127.0.0.1:9/v1 cannot be reached.*Is the server running"):
        await OpenAIPolicy("http://127.0.0.1:9/v1", "m").open()


async def test_the_key_is_sent_only_when_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    async with MockOpenAI(lambda request: "hi") as server:
        async with OpenAIPolicy(server.base_url) as policy:
            await ask(policy)
        monkeypatch.setenv("OPENAI_API_KEY", "secret")
        async with OpenAIPolicy(server.base_url) as policy:
            await ask(policy)
        async with OpenAIPolicy(server.base_url, api_key="given") as policy:
            await ask(policy)
        sent = [request.headers.get("Authorization") for request in server.requests]
    assert sent == [None, "Bearer secret", "Bearer given"]


def test_the_policy_is_made_by_name_and_mistakes_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_policy("openai:http://localhost:8000/v1/", model="qwen", max_in_flight=8)
    assert made.name == "openai:http://localhost:8000/v1#qwen"
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(ConfigError, match="say where"):
        make_policy("openai")
    with pytest.raises(ConfigError, match="is no URL"):
        make_policy("openai:localhost:8000")
    with pytest.raises(ConfigError, match="positive"):
        make_policy("openai:http://localhost:8000/v1", timeout=0)
    with pytest.raises(ConfigError, match="positive"):
        Retry(attempts=0)


async def test_a_policy_that_was_not_opened_says_so() -> None:
    with pytest.raises(ConfigError, match="open the policy first"):
        await ask(OpenAIPolicy("http://localhost:8000/v1", "m"))


async def test_a_password_in_the_url_is_shown_to_nobody() -> None:
    url = "http://me:secret@127.0.0.1:9/v1"
    policy = OpenAIPolicy(url, "m")
    assert policy.name == "openai:http://127.0.0.1:9/v1#m"
    with pytest.raises(ModelError) as caught:
        await policy.open()
    assert "secret" not in str(caught.value)
