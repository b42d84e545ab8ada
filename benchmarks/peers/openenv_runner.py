"""Steps of OpenEnv's echo environment over its WebSocket, with its own client."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from importlib.metadata import version
from typing import Any

from openenv.core.client_types import StepResult
from openenv.core.env_client import EnvClient
from openenv.core.env_server.types import State

from benchmarks.peers.openenv_echo import EchoAction, EchoObservation
from benchmarks.steps import MESSAGE, Step, StepOptions, StepReport, StepRun, measure, server_process


class EchoEnv(EnvClient[EchoAction, EchoObservation, State]):
    """The template's client."""

    def _step_payload(self, action: EchoAction) -> dict[str, Any]:
        return {"message": action.message}

    def _parse_result(self, payload: dict[str, Any]) -> StepResult[EchoObservation]:
        found = payload.get("observation", {})
        observation = EchoObservation(
            echoed_message=found.get("echoed_message", ""),
            message_length=found.get("message_length", 0),
            done=payload.get("done", False),
            reward=payload.get("reward"),
            metadata=payload.get("metadata", found.get("metadata", {})),
        )
        return StepResult(
            observation=observation,
            reward=payload.get("reward"),
            done=payload.get("done", False),
            metadata=payload.get("metadata"),
        )

    def _parse_state(self, payload: dict[str, Any]) -> State:
        return State(episode_id=payload.get("episode_id"), step_count=payload.get("step_count", 0))


async def _run(sessions: int, options: StepOptions, server: int, port: int) -> StepRun:
    async with AsyncExitStack() as stack:
        steps = []
        for _ in range(sessions):
            env = await stack.enter_async_context(EchoEnv(base_url=f"http://127.0.0.1:{port}"))
            await env.reset()
            steps.append(_step_of(env))
        return await measure(steps, options, server)


def _step_of(env: EchoEnv) -> Step:
    async def step() -> None:
        result = await env.step(EchoAction(message=MESSAGE))
        assert result.observation.echoed_message == MESSAGE
        assert result.reward == 1.0

    return step


def main() -> None:
    options = StepOptions.parse()
    runs = []
    for sessions in options.sessions:
        with server_process("benchmarks.peers.openenv_echo", options.variant) as (server, port):
            runs.append(asyncio.run(_run(sessions, options, server, port)))
    StepReport(f"OpenEnv echo, {options.variant}", version("openenv"), tuple(runs)).print()


if __name__ == "__main__":
    main()
