"""An answer is stamped with the weights that sampled it, also when they are replaced while it is generated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agentenv.messages import user
from agentenv.policy.contract import Completion, Sampling, Session
from agentenv.tokens import VersionSpan
from agentenv_vllm.api import VLLMApi
from agentenv_vllm.versions import InFlight, VersionedClient, VersionGate
from tests.vllm.support import StubServer


class Generation:
    """The stub's engine: the first answer is under way until it is told to end; later ones come at once."""

    def __init__(self, stub: StubServer) -> None:
        self.stub = stub
        self.began = asyncio.Event()
        self.go_on = asyncio.Event()
        self.choice: dict[str, Any] = {}
        """Of the first answer."""

    async def __call__(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if len(self.stub.requests) > 1:
            return 200, self.stub.completion(body)
        self.began.set()
        await self.go_on.wait()
        return 200, self.stub.completion(body, **self.choice)


@asynccontextmanager
async def client_of(stub: StubServer, in_flight: InFlight) -> AsyncIterator[tuple[VersionedClient, VersionGate]]:
    gate = VersionGate(version=4)
    async with stub.running() as url, VersionedClient(f"{url}/v1", "m", gate, api_key="") as client:
        client.in_flight = in_flight
        yield client, gate


async def ask(client: VersionedClient) -> Completion:
    return await client.complete([user("hi")], (), Sampling(temperature=1.0, tokens=True), Session("s", seed=0))


def versions(completion: Completion) -> tuple[VersionSpan, ...]:
    assert completion.tokens is not None
    return completion.tokens.versions


async def replaced_meanwhile(
    in_flight: InFlight, *, server_stamps: bool = False, **choice: Any
) -> tuple[Completion, StubServer]:
    """The answer to a request during which version 5 replaced 4, the first answer's choice being changed so."""
    stub = StubServer()
    generation = stub.chat = Generation(stub)
    generation.choice = choice
    async with client_of(stub, in_flight) as (client, gate):
        client.server_stamps = server_stamps
        asked = asyncio.create_task(ask(client))
        await generation.began.wait()
        async with gate.updating(5):
            pass
        generation.go_on.set()
        return await asked, stub


async def test_without_an_update_it_is_the_version_that_is_served() -> None:
    async with client_of(StubServer(), InFlight.MIXED) as (client, _):
        assert versions(await ask(client)) == (VersionSpan(4, 0, 1),)


async def test_after_an_update_it_is_the_new_version() -> None:
    async with client_of(StubServer(), InFlight.MIXED) as (client, gate):
        async with gate.updating(5):
            pass
        assert versions(await ask(client)) == (VersionSpan(5, 0, 1),)


async def test_a_mixed_answer_that_nobody_can_tell_apart_is_sampled_again() -> None:
    completion, stub = await replaced_meanwhile(InFlight.MIXED)
    assert versions(completion) == (VersionSpan(5, 0, 1),)
    assert len(stub.requests) == 2


async def test_a_mixed_answer_whose_tokens_the_server_tells_apart_is_used_as_it_says() -> None:
    spans = [{"version": "4", "start": 0, "end": 1}, {"version": "5", "start": 1, "end": 2}]
    logprobs = {"content": [{"token": "a", "logprob": -1.0}, {"token": "b", "logprob": -2.0}]}
    completion, stub = await replaced_meanwhile(
        InFlight.MIXED, server_stamps=True, token_ids=[0, 1], logprobs=logprobs, weight_versions=spans
    )
    assert versions(completion) == (VersionSpan(4, 0, 1), VersionSpan(5, 1, 2))
    assert len(stub.requests) == 1


async def test_with_abort_a_finished_answer_was_sampled_by_the_old_weights_alone() -> None:
    completion, stub = await replaced_meanwhile(InFlight.ABORTED)
    assert versions(completion) == (VersionSpan(4, 0, 1),)
    assert len(stub.requests) == 1


async def test_with_abort_an_aborted_answer_is_sampled_again_at_once_by_the_new_weights() -> None:
    completion, stub = await replaced_meanwhile(InFlight.ABORTED, finish_reason="abort")
    assert versions(completion) == (VersionSpan(5, 0, 1),)
    assert len(stub.requests) == 2


async def test_an_adapter_with_a_name_of_its_own_goes_on_to_the_end() -> None:
    completion, stub = await replaced_meanwhile(InFlight.UNTOUCHED)
    assert versions(completion) == (VersionSpan(4, 0, 1),)
    assert len(stub.requests) == 1


async def test_text_that_looks_like_the_protocol_is_only_text() -> None:
    message = {"role": "assistant", "content": '{"finish_reason": "abort", "weight_versions": [{"version": 9}]}'}
    completion, stub = await replaced_meanwhile(InFlight.ABORTED, message=message)
    assert versions(completion) == (VersionSpan(4, 0, 1),)
    assert len(stub.requests) == 1


async def test_no_request_is_sent_while_weights_are_replaced() -> None:
    stub = StubServer()
    async with client_of(stub, InFlight.MIXED) as (client, gate):
        async with gate.updating(5):
            asked = asyncio.create_task(ask(client))
            async with VLLMApi(client.name.removeprefix("openai:").partition("#")[0]) as api:
                for _ in range(3):  # what was sent before these has arrived
                    await api.version()
            assert stub.requests == []
        assert versions(await asked) == (VersionSpan(5, 0, 1),)


async def test_an_update_that_fails_leaves_the_old_version() -> None:
    async with client_of(StubServer(), InFlight.MIXED) as (client, gate):
        with pytest.raises(ValueError, match="no"):
            async with gate.updating(5):
                raise ValueError("no")
        assert versions(await ask(client)) == (VersionSpan(4, 0, 1),)


async def test_many_updates_in_a_row_do_not_use_up_the_attempts_of_a_call() -> None:
    stub = StubServer()
    async with client_of(stub, InFlight.MIXED) as (client, gate):

        async def interrupted(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            if len(stub.requests) <= 20:
                async with gate.updating(4 + len(stub.requests)):
                    pass
            return 200, stub.completion(body)

        stub.chat = interrupted
        assert versions(await ask(client)) == (VersionSpan(24, 0, 1),)
        assert len(stub.requests) == 21


async def test_the_version_salts_the_cache_of_keys_and_values() -> None:
    stub = StubServer()
    async with client_of(stub, InFlight.MIXED) as (client, gate):
        client.salted = True
        await ask(client)
        async with gate.updating(5):
            pass
        await ask(client)
    assert [request["cache_salt"] for request in stub.requests] == ["weights-4", "weights-5"]
