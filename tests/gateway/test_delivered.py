"""An agent that closes its connection in the moment it has the last byte has had its answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentenv.gateway import CallStatus
from agentenv.gateway.calling import _Exchange
from agentenv_tiny import EmbeddedServer
from tests.gateway.conftest import MESSAGES, Client, MakeGateway


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
async def test_a_client_gone_after_the_last_byte_has_its_answer(
    policy_folder: Path, make_gateway: MakeGateway, client: Client, monkeypatch: pytest.MonkeyPatch, streaming: bool
) -> None:
    ask = _Exchange._ask_replicas

    async def ask_and_lose_the_client(self: _Exchange) -> Any:
        answered = await ask(self)
        for handler in self.session.tasks:
            handler.cancel()
        return answered

    async with EmbeddedServer(policy_folder, model_name="tiny", seed=0) as server:
        gateway = await make_gateway(server.base_url)
        monkeypatch.setattr(_Exchange, "_ask_replicas", ask_and_lose_the_client)
        messages = list(MESSAGES)
        for _ in range(3):
            agent = client(gateway, "s")  # a connection of its own: the gateway closes that of a client it has lost
            question: Any = {"model": "tiny", "messages": messages, "max_tokens": 4, "stream": streaming}
            answer = await agent.chat.completions.create(**question)
            if streaming:
                text = "".join([piece.choices[0].delta.content or "" async for piece in answer])
            else:
                text = answer.choices[0].message.content
            messages += [{"role": "assistant", "content": text}, {"role": "user", "content": "and then?"}]
        session = gateway.sessions.use("s")
        records = [session.record(call) for call in session.calls]
        assert [record.status for record in records] == [CallStatus.OK] * 3
        assert all(record.answer for record in records)
