"""Token-exact conversations with servers that sample: the embedded one, and a real vLLM."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from agentenv.gateway.calls import Continuation, ForkReason  # noqa: E402
from agentenv.gateway.continuation import (  # noqa: E402
    Conversations,
    DriftStatistics,
    Plan,
    ServerRenderer,
    chat_answer,
    read_ids,
)
from agentenv.gateway.continuation.exact import pack  # noqa: E402
from agentenv.messages import Wire  # noqa: E402
from agentenv.tokens import TokenRecord, VersionSpan  # noqa: E402
from agentenv.trajectory import build_rows  # noqa: E402
from agentenv_tiny import EmbeddedServer  # noqa: E402
from tests.continuation.local import TOOLS, Held  # noqa: E402
from tests.support.fake_vllm import FakeVLLM, LogprobsMode  # noqa: E402
from tests.support.real_vllm import RealVLLM  # noqa: E402
from tests.trajectory.build import episode  # noqa: E402

UNTRAINED = {"temperature": 1.5, "logprobs": True, "return_token_ids": True, "max_tokens": 24}
"""At a high temperature an untrained model draws any tokens; their text is nearly never spelled by the same ones."""

HIDDEN = (0, 2, 3, 4, 5)
"""Special tokens of the tiny model that end no turn: an answer with one is not the text the client was sent."""


@dataclass
class Client:
    """One session's client, doing by hand what the gateway does."""

    http: aiohttp.ClientSession
    root: str
    model: str
    renderer: ServerRenderer
    conversations: Conversations
    plans: list[Plan]
    records: list[TokenRecord]

    @classmethod
    @asynccontextmanager
    async def of(cls, root: str, model: str) -> AsyncIterator[Client]:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60)) as http:

            async def post(path: str, body: Wire) -> tuple[int, Any]:
                async with http.post(root + path, json=body) as reply:
                    return reply.status, await reply.json()

            yield cls(http, root, model, ServerRenderer(post, model), Conversations(), [], [])

    async def ask(self, messages: Sequence[Wire], tools: Sequence[Wire] = (), **options: Any) -> Wire:
        """The next assistant message."""
        options = UNTRAINED | options
        plan = [plan async for plan in self.conversations.plans(messages, tools, options, self.renderer)][-1]
        if plan.prompt_ids is None:
            body = options | {"messages": list(messages)} | ({"tools": list(tools)} if tools else {})
            answer = await self._post("/v1/chat/completions", body)
        else:
            completion = await self._post("/v1/completions", plan.completion_body(options))
            ids = read_ids(completion)
            message = await self.renderer.read_answer(plan.prompt_ids, ids, messages, tools, options)
            answer = chat_answer(completion, message)
        (choice,) = answer["choices"]
        logprobs = [entry["logprob"] for entry in choice["logprobs"]["content"]]
        sampled = choice["token_ids"]
        record = TokenRecord(
            tuple(answer["prompt_token_ids"]), tuple(sampled), tuple(logprobs), (VersionSpan(0, 0, len(sampled)),)
        )
        assert plan.prompt_ids in (None, record.prompt_ids)
        held = Held(pack(record.prompt_ids), pack(record.sampled_ids))
        self.plans.append(self.conversations.learn(plan, choice["message"], held, choice["finish_reason"]))
        self.records.append(record)
        return dict(choice["message"])

    async def _post(self, path: str, body: Wire) -> Wire:
        async with self.http.post(self.root + path, json=body | {"model": self.model}) as reply:
            answer: Wire = await reply.json()
            assert reply.status == 200, answer
            return answer


async def converse(client: Client, turns: int, tools: Sequence[Wire], *, seed: int) -> None:
    messages: list[Wire] = [{"role": "user", "content": "12 times 34"}]
    for turn in range(turns):
        answer = await client.ask(messages, tools, seed=100 * seed + turn)
        messages += [answer, {"role": "user", "content": f"and then {turn}?"}]


async def shown_answer(client: Client, messages: Sequence[Wire]) -> Wire:
    """An answer without a token that text does not show."""
    for seed in range(30):
        answer = await client.ask(messages, seed=seed)
        if not any(token in HIDDEN for token in client.records[-1].sampled_ids):
            return answer
    raise AssertionError("thirty answers held special tokens")


def largest_difference(folder: Path, record: TokenRecord, temperature: float) -> float:
    """Between the recorded logprobs and those transformers computes for the same ids."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.tensor([record.prompt_ids + record.sampled_ids])
    with torch.no_grad():
        logits = model(ids).logits[0, len(record.prompt_ids) - 1 : -1] / temperature
    expected = torch.log_softmax(logits, -1).gather(1, ids[0, len(record.prompt_ids) :, None])[:, 0]
    return float((expected - torch.tensor(record.logprobs)).abs().max())


def assert_one_row_of_what_was_sampled(client: Client, folder: Path, temperature: float) -> None:
    built = build_rows([episode(*client.records)])
    (row,) = built.rows
    assert not built.excluded
    assert row.sampled == sum(len(record.sampled_ids) for record in client.records)
    for record in client.records:
        assert largest_difference(folder, record, temperature) < 1e-4


async def check_conversations(root: str, model: str, folder: Path) -> None:
    """Converses until a whole conversation was sampled without a token that text does not show."""
    for tools in ((), TOOLS):
        for seed in range(30):
            async with Client.of(root, model) as client:
                await converse(client, 3, tools, seed=seed)
            shown = [all(token not in HIDDEN for token in record.sampled_ids) for record in client.records]
            for before, now, plan in zip(client.records, client.records[1:], client.plans[1:], strict=False):
                whole = before.prompt_ids + before.sampled_ids
                assert (now.prompt_ids[: len(whole)] == whole) == (plan.continuation is not Continuation.FORKED)
            if all(shown):
                break
        assert all(shown)
        kinds = [plan.continuation for plan in client.plans]
        assert kinds == [Continuation.OPENING, Continuation.REALIGNED, Continuation.REALIGNED], client.plans
        statistics = DriftStatistics.of((plan.continuation, plan.fork_reason) for plan in client.plans)
        assert statistics.share(Continuation.REALIGNED) == 1.0
        assert_one_row_of_what_was_sampled(client, folder, temperature=1.5)


async def check_choices_and_limits(root: str, model: str) -> None:
    """A realigned call obeys the request as the chat route does."""
    async with Client.of(root, model) as client:
        opening: list[Wire] = [{"role": "user", "content": "12 times 34"}]
        first = await shown_answer(client, opening)
        messages = [*opening, first, {"role": "user", "content": "and?"}]
        short = await client.ask(messages, seed=2, max_tokens=3)
        assert client.plans[-1].continuation is Continuation.REALIGNED
        assert len(client.records[-1].sampled_ids) <= 3
        again = await client.ask(messages, seed=2, max_tokens=None, max_completion_tokens=3)
        assert again["content"] == short["content"]
        unlimited = await client.ask(messages, seed=2, max_tokens=None, ignore_eos=True)
        whole = client.records[-1].prompt_ids + client.records[-1].sampled_ids
        assert len(whole) == 512
        assert unlimited["content"].startswith(short["content"].rstrip("\ufffd"))
        await client.ask(messages, seed=3, n=1, tool_choice="none")
        assert client.plans[-1].continuation is Continuation.REALIGNED


async def test_the_embedded_server_keeps_what_it_sampled(folder: Path) -> None:
    async with EmbeddedServer(folder, seed=0, threads=1) as server:
        await check_conversations(server.base_url.removesuffix("/v1"), "tiny", folder)


async def test_the_embedded_server_obeys_a_realigned_request(folder: Path) -> None:
    async with EmbeddedServer(folder, seed=0, threads=1) as server:
        await check_choices_and_limits(server.base_url.removesuffix("/v1"), "tiny")


@pytest.mark.parametrize(
    ("release", "switched_on", "reason"),
    [
        ("0.10.2", True, ForkReason.CANNOT_READ_ANSWER),
        ("0.21", True, ForkReason.CANNOT_READ_ANSWER),
        ("0.28", True, None),
        ("0.32", True, None),
        ("0.32", False, ForkReason.CANNOT_READ_ANSWER),
        ("0.33", True, None),
    ],
)
async def test_every_release_of_vllm_either_keeps_the_tokens_or_says_why_not(
    folder: Path, release: str, switched_on: bool, reason: ForkReason | None
) -> None:
    options = {"scale_out": switched_on, "tool_call_parser": "hermes", "auto_tool_choice": True, "model_name": "tiny"}
    sampled_from = LogprobsMode.PROCESSED
    async with FakeVLLM(folder, profile=release, logprobs_mode=sampled_from, **options) as server:
        root = server.base_url.removesuffix("/v1")
        if reason is None:
            await check_conversations(root, "tiny", folder)
            return
        async with Client.of(root, "tiny") as client:
            await converse(client, 2, (), seed=1)
        assert client.plans[-1].fork_reason is reason


async def test_a_real_vllm_keeps_what_it_sampled(real_vllm: RealVLLM) -> None:
    await check_conversations(real_vllm.root_url, real_vllm.model_name, real_vllm.folder)


async def test_a_real_vllm_obeys_a_realigned_request(real_vllm: RealVLLM) -> None:
    await check_choices_and_limits(real_vllm.root_url, real_vllm.model_name)


async def test_a_realigned_answer_reads_as_the_chat_route_reads_it(real_vllm: RealVLLM) -> None:
    """The same ids, sampled by the chat route and by the completion route, are the same message."""
    async with Client.of(real_vllm.root_url, real_vllm.model_name) as client:
        for tools in ((), TOOLS):
            for forced in ({}, {"1": 100.0}, {"3": 5.0}):
                messages: list[Wire] = [{"role": "user", "content": "12 times 34"}]
                options = UNTRAINED | {"seed": 5, "logit_bias": forced}
                body = options | {"messages": messages} | ({"tools": tools} if tools else {})
                chat = await client._post("/v1/chat/completions", body)
                prompt = chat["prompt_token_ids"]
                rendered = await client.renderer.render(messages, tools, add_generation_prompt=True, options=options)
                assert list(rendered.ids) == prompt
                plan = Plan(
                    Continuation.REALIGNED, prompt_ids=tuple(prompt), skip_special_tokens=rendered.skip_special_tokens
                )
                completion = await client._post("/v1/completions", plan.completion_body(options))
                message = await client.renderer.read_answer(prompt, read_ids(completion), messages, tools, options)
                (choice,) = chat_answer(completion, message)["choices"]
                (expected,) = chat["choices"]
                for name in ("token_ids", "finish_reason", "stop_reason", "logprobs"):
                    assert choice[name] == expected[name], name
                assert said(choice["message"]) == said(expected["message"])


async def test_a_real_vllm_keeps_a_tool_call_as_sampled_that_its_template_writes_anew(real_vllm: RealVLLM) -> None:
    """A grammar makes the untrained model call a tool in JSON without spaces, in whichever tokens it likes."""
    grammar = {"regex": r'<tool_call>\{"name":"add","arguments":\{"a":[0-9]{2},"b":\[1,2\]\}\}</tool_call>'}
    async with Client.of(real_vllm.root_url, real_vllm.model_name) as client:
        messages: list[Wire] = [{"role": "user", "content": "3 plus 4"}]
        for turn in range(2):
            grammar_of_opening = {"structured_outputs": grammar} if not turn else {}
            answer = await client.ask(messages, TOOLS, seed=turn, max_tokens=64, **grammar_of_opening)
            if not turn:
                (call,) = answer["tool_calls"]
                messages += [answer, {"role": "tool", "tool_call_id": call["id"], "content": "7"}]
        first, second = client.records
        whole = first.prompt_ids + first.sampled_ids
        assert await client.renderer.spell(second.prompt_ids[len(whole) :]) == "<|tool|>7<|end|><|assistant|>"
    assert [plan.continuation for plan in client.plans] == [Continuation.OPENING, Continuation.REALIGNED]
    assert second.prompt_ids[: len(whole)] == whole


def said(message: Wire) -> Wire:
    return {name: value for name, value in message.items() if value is not None}


async def test_a_server_without_the_routes_costs_no_call(real_vllm: RealVLLM) -> None:
    async with Client.of(real_vllm.root_url, real_vllm.model_name) as client:

        async def post(path: str, body: Wire) -> tuple[int, Any]:
            return 404, {"detail": "Not Found"}

        client.renderer = ServerRenderer(post, real_vllm.model_name)
        await converse(client, 2, (), seed=0)
        assert [plan.fork_reason for plan in client.plans] == [None, ForkReason.CANNOT_READ_ANSWER]
