"""An unchanged OpenAI client behind the gateway: its turns are exact, its retries dropped, its branches kept."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

pytest.importorskip("torch")

from agentenv.gateway import Gateway, GatewayClient, GatewayConfig
from agentenv.gateway.client import Trajectory
from agentenv.trajectory import Excluded, build_rows
from agentenv_tiny import EmbeddedServer
from tests.continuation.local import TOOLS
from tests.continuation.test_servers import HIDDEN, largest_difference
from tests.support.real_vllm import RealVLLM

OPENING: Any = [{"role": "user", "content": "12 times 34"}]
SETTINGS: Any = {"temperature": 1.5, "max_tokens": 16, "model": "tiny"}


@contextlib.asynccontextmanager
async def gateway_over(url: str) -> AsyncIterator[tuple[Gateway, GatewayClient]]:
    async with Gateway(GatewayConfig((url,), port=0)) as gateway, GatewayClient(gateway.url) as manager:
        yield gateway, manager


async def ask(client: openai.AsyncOpenAI, messages: Any, *, stream: bool = False, **options: Any) -> Any:
    """The next message, echoed as the library's users do."""
    if not stream:
        reply = await client.chat.completions.create(messages=messages, **SETTINGS, **options)
        return reply.choices[0].message.model_dump(exclude_none=True)
    text = ""
    async for chunk in await client.chat.completions.create(messages=messages, stream=True, **SETTINGS, **options):
        text += chunk.choices[0].delta.content or "" if chunk.choices else ""
    return {"role": "assistant", "content": text}


async def converse(gateway: Gateway, session: str, seed: int, **options: Any) -> None:
    messages = list(OPENING)
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/sessions/{session}/v1", api_key="none") as client:
        for turn in range(3):
            answer = await ask(client, messages, seed=10 * seed + turn, **options)
            messages += [answer, {"role": "user", "content": f"and then {turn}?"}]


def hides(found: Trajectory) -> bool:
    """Whether a token was sampled that text does not show, after which no render can be exact."""
    return any(token in HIDDEN for call in found.calls if call.tokens for token in call.tokens.sampled_ids)


def hides_last(found: Trajectory) -> bool:
    """Whether the last call sampled such a token."""
    tokens = found.calls[-1].tokens
    return tokens is None or any(token in HIDDEN for token in tokens.sampled_ids)


async def check(url: str, folder: Path) -> None:
    async with gateway_over(url) as (gateway, manager):
        for name, options in {"plain": {}, "tools": {"tools": TOOLS}, "stream": {"stream": True}}.items():
            for seed in range(40):
                session = f"{name}-{seed}"
                await converse(gateway, session, seed, **options)
                await manager.session(session).finish(reward=1.0)
                found = await manager.session(session).trajectory()
                if not hides(found):
                    break
            assert not hides(found)
            assert found.continuations == {"opening": 1, "realigned": 2}, (name, found.fork_reasons)
            built = build_rows([found.episode])
            (row,) = built.rows
            assert row.sampled == sum(len(call.tokens.sampled_ids) for call in found.calls if call.tokens)
            assert built.excluded == ()
            for call in found.calls:
                assert call.tokens is not None
                assert largest_difference(folder, call.tokens, SETTINGS["temperature"]) < 1e-4
        assert gateway.statistics.tokens_realigned > 0


async def test_over_the_embedded_server_every_turn_is_exact(folder: Path) -> None:
    async with EmbeddedServer(folder, seed=0, threads=1) as server:
        await check(server.base_url, folder)


async def test_over_a_real_vllm_every_turn_is_exact(real_vllm: RealVLLM) -> None:
    await check(real_vllm.base_url, real_vllm.folder)


async def respond(gateway: Gateway, session: str, seed: int) -> None:
    """Three turns of the Responses API, whose answers come back as items."""
    items: Any = list(OPENING)
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/sessions/{session}/v1", api_key="none") as client:
        for turn in range(3):
            extra = {"seed": 10 * seed + turn}
            reply = await client.responses.create(
                model="tiny", input=items, temperature=1.5, max_output_tokens=16, extra_body=extra
            )
            items += [
                *(item.model_dump(exclude_none=True) for item in reply.output),
                {"role": "user", "content": "so?"},
            ]


async def message(gateway: Gateway, session: str, seed: int) -> None:
    """Three turns of Anthropic's API, whose answers come back as content blocks."""
    messages: Any = list(OPENING)
    async with anthropic.AsyncAnthropic(base_url=f"{gateway.url}/sessions/{session}", api_key="none") as client:
        for turn in range(3):
            extra = {"temperature": 1.5, "seed": 10 * seed + turn}
            reply = await client.messages.create(model="tiny", messages=messages, max_tokens=16, extra_body=extra)
            blocks = [block.model_dump(exclude_none=True) for block in reply.content]
            messages += [{"role": "assistant", "content": blocks}, {"role": "user", "content": "so?"}]


@pytest.mark.parametrize("play", [respond, message])
async def test_turns_are_exact_whichever_protocol_the_agent_speaks(folder: Path, play: Any) -> None:
    async with EmbeddedServer(folder, seed=0, threads=1) as server, gateway_over(server.base_url) as (gateway, manager):
        for seed in range(40):
            await play(gateway, f"s{seed}", seed)
            found = await manager.session(f"s{seed}").trajectory()
            if not hides(found):
                break
    assert not hides(found)
    assert found.continuations == {"opening": 1, "realigned": 2}, found.fork_reasons


async def test_a_retry_is_dropped_and_a_subagent_and_an_edited_history_are_rows_of_their_own(folder: Path) -> None:
    async with EmbeddedServer(folder, seed=0, threads=1) as server, gateway_over(server.base_url) as (gateway, manager):
        session = manager.session("s")
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/sessions/s/v1", api_key="none") as client:
            await ask(client, OPENING, seed=0)
            answers = [await ask(client, OPENING, seed=1)]
            while hides_last(await session.trajectory()):
                answers.append(await ask(client, OPENING, seed=1 + len(answers)))
            await ask(client, [{"role": "system", "content": "You check sums."}, *OPENING], seed=3)
            question = {"role": "user", "content": "sure?"}
            await ask(client, [*OPENING, {**answers[-1], "content": "edited"}, question], seed=4)
            await ask(client, [*OPENING, answers[-1], question], seed=5)
        await session.finish(reward=1.0)
        found = await session.trajectory()
    used = len(answers)
    assert found.continuations["opening"] == used + 2
    assert found.fork_reasons["history_edited"] == 1
    built = build_rows([found.episode])
    assert [(one.turn, one.reason) for one in built.excluded] == [(turn, Excluded.RETRIED) for turn in range(used)]
    rows = {tuple(sorted(set(row.turns.tolist()) - {-1})) for row in built.rows}
    assert rows == {(used, used + 3), (used + 1,), (used + 2,)}
