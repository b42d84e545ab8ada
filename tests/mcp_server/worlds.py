"""Environments that are slow, fail, or change, and keep account of what was done to them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

from agentenv import ChatEnv, ListTasks, Part, SandboxError, Task, TaskSet, reward, tool
from agentenv.messages import Message
from agentenv.tools import ToolSet
from tests.mcp_conformance.tools import PIXEL


class Slow(ChatEnv):
    """Its tool and its reset wait until they are let go. The class is one episode's account: reset it with `anew`."""

    go: ClassVar[asyncio.Event]
    done: ClassVar[list[str]]

    @classmethod
    def anew(cls) -> None:
        cls.go, cls.done = asyncio.Event(), []

    def __init__(self, slow_reset: bool = False) -> None:
        super().__init__()
        self.slow_reset = slow_reset

    def tasks(self, split: str = "train") -> TaskSet:
        return ListTasks([Task.ask("one", "Wait.")])

    async def setup(self) -> None:
        self.done.append("reset begun")
        if self.slow_reset:
            await self.go.wait()
        self.done.append("reset")

    @tool
    async def wait(self) -> str:
        """Waits."""
        self.done.append("wait begun")
        await self.go.wait()
        self.done.append("waited")
        return "waited"

    @reward
    def waited(self) -> float:
        return float("waited" in self.done)

    async def close(self) -> None:
        self.done.append("closed")


class Changing(ChatEnv):
    """Crashes, earns too much, shows a picture, and has one more tool once the door is open."""

    def __init__(self) -> None:
        super().__init__()
        self.is_open = False

    def tasks(self, split: str = "train") -> TaskSet:
        return ListTasks([Task.ask("one", "Look around."), Task.ask("two", "Look around again.")])

    @property
    def tools(self) -> ToolSet:
        hidden = "treasure"
        return ToolSet([tool for tool in super().tools if self.is_open or tool.spec.name != hidden])

    @tool(inline=True)
    def open_door(self) -> str:
        """Opens the door."""
        self.is_open = True
        return "A treasure!"

    @tool(inline=True)
    def treasure(self, episode: int = 0) -> str:
        """Takes the treasure."""
        return f"gold {episode}"

    @tool(inline=True)
    def look(self) -> Part:
        """What there is to be seen."""
        return Part.image_url(f"data:image/png;base64,{PIXEL}")

    @tool(inline=True)
    def answer(self) -> str:
        """Has the name of one of the server's tools."""
        return "the environment's own"

    @tool(inline=True)
    def tool_answer(self) -> str:
        """Has the name that `answer` gets."""
        return "the environment's other"

    @tool(inline=True)
    async def crash(self) -> str:
        """Fails."""
        await asyncio.sleep(0.05)
        raise SandboxError("the sandbox has burnt down")

    @reward
    def found(self, completion: str) -> float:
        return 7.0 if completion == "too much" else 1.0

    async def respond(self, message: Message) -> Sequence[Message] | None:
        return None


def spec_of(kind: type[ChatEnv], **kwargs: Any) -> Any:
    """A specification of one of these; rewards are promised to be at most 1."""
    from agentenv.registry import EnvSpec

    return EnvSpec(
        id=f"{kind.__name__.lower()}-v0",
        entry_point=f"tests.mcp_server.worlds:{kind.__name__}",
        kwargs=kwargs,
        reward_range=(0.0, 1.0),
    )
