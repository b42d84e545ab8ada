"""OpenEnv's echo environment, as `openenv init` writes it, on its own server: `... openenv_echo VARIANT PORT`.

The template allows one session; here it is as many as are measured. In the variant `thread` the environment is the
template's, a synchronous `step` that the server runs in the session's thread; in the variant `async` it is the same
environment with `step_async`, which the server awaits on its loop.
"""

from __future__ import annotations

import sys
from typing import Any
from uuid import uuid4

import uvicorn
from openenv.core.env_server.http_server import create_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, Observation, State
from pydantic import Field


class EchoAction(Action):
    message: str = Field(..., description="Message to echo back")


class EchoObservation(Observation):
    echoed_message: str = Field(default="", description="The echoed message")
    message_length: int = Field(default=0, description="Length of the echoed message")


class EchoEnvironment(Environment):
    SUPPORTS_CONCURRENT_SESSIONS: bool = True

    def __init__(self) -> None:
        self._state = State(episode_id=str(uuid4()), step_count=0)

    def reset(self, seed: int | None = None, episode_id: str | None = None, **kwargs: Any) -> EchoObservation:
        self._state = State(episode_id=episode_id if episode_id is not None else str(uuid4()), step_count=0)
        return EchoObservation(echoed_message="ready!", message_length=0, done=False, reward=0.0)

    def step(self, action: EchoAction) -> EchoObservation:  # type: ignore[override]
        self._state.step_count += 1
        message = action.message
        length = len(message)
        return EchoObservation(
            echoed_message=message,
            message_length=length,
            done=False,
            reward=min(length * 0.1, 1.0),
            metadata={"original_message": message, "step": self._state.step_count},
        )

    @property
    def state(self) -> State:
        return self._state


class AsyncEchoEnvironment(EchoEnvironment):
    async def step_async(self, action: EchoAction, **kwargs: Any) -> EchoObservation:  # type: ignore[override]
        return self.step(action)


def main() -> None:
    environment = {"thread": EchoEnvironment, "async": AsyncEchoEnvironment}[sys.argv[1]]
    app = create_app(environment, EchoAction, EchoObservation, env_name="echo", max_concurrent_envs=64)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")


if __name__ == "__main__":
    main()
