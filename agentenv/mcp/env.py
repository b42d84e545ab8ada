"""Environments whose tools are those of MCP servers."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pydantic

from agentenv.env import Action, Info, Observation, StepResult
from agentenv.errors import ConfigError, MissingDataError, MissingExtraError, VerifierError
from agentenv.mcp.client.config import Server, servers_of
from agentenv.messages import Message, ToolCall
from agentenv.rewards import reward
from agentenv.tasks import ListTasks, Task, TaskSet
from agentenv.tool_env import ToolEnv
from agentenv.tool_rules import ToolRules
from agentenv.tools import Tool, ToolOutcome, ToolSet

try:
    import mcp_types

    from agentenv.mcp.client.connection import Question
    from agentenv.mcp.client.content import prompt_messages
    from agentenv.mcp.client.discovery import ToolIndex, finder
    from agentenv.mcp.client.pool import pool_of
    from agentenv.mcp.client.toolbox import Bound, together
except ImportError as missing:
    raise MissingExtraError("an environment of MCP servers", "mcp") from missing


class MCPEnv(ToolEnv):
    """A conversation with the tools of MCP servers. Subclass it, with tasks and rewards, as any `ChatEnv`.

    A server that is a program has a process of its own in each episode, in a sandbox; one at a URL is told the episode
    by a handle. Whatever a server does wrong is an observation, or the failure of that episode alone. What it says is
    data: nothing in it changes what the environment does.

    Args:
        servers: one or several: a URL, a mapping with a `command` or a `url`, or a `Server`.
        discover: offer one tool that finds others, instead of all of them at once.
        prompt: a prompt of the first server that opens the conversation, before the task's own.
        tool_rules: as of `ToolEnv`.

    Example:
        class Shop(MCPEnv):
            def __init__(self):
                super().__init__({"command": ["python3", "shop.py"], "files": {"shop.py": "servers/shop.py"}})

            @reward
            def bought(self, completion):
                return float("order confirmed" in completion)

    Raises:
        ConfigError: servers or rules that make no sense.
    """

    def __init__(
        self,
        servers: Sequence[Server | Mapping[str, Any] | str] | Server | Mapping[str, Any] | str,
        *,
        discover: bool = False,
        prompt: str | None = None,
        tool_rules: ToolRules | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(tool_rules)
        self.servers = servers_of(servers)
        self._discover, self._prompt = discover, prompt
        self._held = AsyncExitStack()
        self._bound: list[Bound] = []
        self._all: dict[str, Tool] = {}
        self._found: dict[str, Tool] = {}
        self._revisions: list[int] = []
        self._set = ToolSet(())
        self._opening: tuple[Message, ...] = ()

    async def answer(self, question: Question) -> mcp_types.ElicitResult:
        """Answers what a server asks the user in the middle of a call. Override it, with a user simulator for example.

        Returns:
            `ElicitResult(action="accept", content={...})` with the fields of `question.requested_schema`; unless it is
            overridden the user declines.
        """
        return mcp_types.ElicitResult(action="decline")

    @property
    def bound(self) -> Sequence[Bound]:
        """The episode's connections, in the order of `servers`."""
        return self._bound

    @property
    def all_tools(self) -> ToolSet:
        return self._set

    @property
    def tool_names(self) -> Collection[str]:
        return self._all

    async def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        await self._release()
        return await super().reset(task=task, seed=seed)

    async def setup(self) -> None:
        for server in self.servers:
            pool = await self._held.enter_async_context(pool_of(server))
            connection = await pool.take()
            self._held.push_async_callback(pool.give_back, connection)
            if not pool.shared:
                connection.answered_by(self.answer)
            bound = await Bound.of(connection, self.answer)
            self._held.push_async_callback(bound.end)
            self._bound.append(bound)
        self._found = {}
        await self._look()
        self._opening = ()
        if self._prompt is not None:
            self._opening = prompt_messages(await self._bound[0].connection.prompt(self._prompt))

    def prompt(self) -> tuple[Message, ...]:
        return self._opening + super().prompt()

    async def step(self, action: Action) -> StepResult:
        await self._look_again()  # what changed while the policy was thinking
        return await super().step(action)

    async def call_tools(self, calls: Sequence[ToolCall]) -> list[ToolOutcome]:
        known = len(self._found)
        outcomes = await super().call_tools(calls)
        await self._look_again()
        if len(self._found) != known:
            self._offer()
        return outcomes

    async def close(self) -> None:
        await self._release()

    async def _look_again(self) -> None:
        """Asks for the tools where a server has said that they are others now."""
        if self._revisions != [bound.connection.revision for bound in self._bound]:
            await self._look()

    async def _look(self) -> None:
        """Asks every server for its tools."""
        self._revisions = [bound.connection.revision for bound in self._bound]
        listed = [(bound.connection.server.name, tool) for bound in self._bound for tool in await bound.tools()]
        self._all = {tool.spec.name: tool for tool in together(listed)}
        self._offer()

    def _offer(self) -> None:
        if not self._discover:
            self._set = ToolSet(list(self._all.values()))
            return
        self._found = {name: self._all[name] for name in self._found if name in self._all}
        allowed = [tool for name, tool in self._all.items() if name not in self.tool_rules.without]
        self._set = ToolSet([finder(ToolIndex(allowed), self._found), *self._found.values()])

    async def _release(self) -> None:
        held, self._held, self._bound = self._held, AsyncExitStack(), []
        await held.aclose()


class MCPTasks(MCPEnv):
    """Tasks of a file, to be done with the tools of MCP servers: the id `mcp-v0`.

    The reward is 1 where the final message is the task's answer, after spaces and letter case; or what a server's own
    tool for it says.

    Args:
        servers, discover, prompt, tool_rules: as of `MCPEnv`.
        tasks: a file with a JSON object a line: `prompt`, and an `answer` unless a tool scores; `id` and `split` as one
            likes.
        score_tool: the tool of a server that says what the episode is worth, a number or `{"reward": number}`; the
            model does not see it.
    """

    def __init__(
        self,
        servers: Sequence[Server | Mapping[str, Any] | str] | Server | Mapping[str, Any] | str = (),
        *,
        tasks: str | None = None,
        score_tool: str | None = None,
        discover: bool = False,
        prompt: str | None = None,
        tool_rules: ToolRules | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(servers, discover=discover, prompt=prompt, tool_rules=tool_rules)
        self._file, self._score_tool = tasks, score_tool

    def tasks(self, split: str = "train") -> TaskSet:
        if self._file is None:
            raise MissingDataError(
                'mcp-v0 plays the tasks of a file: tasks="tasks.jsonl", with a line such as '
                '{"prompt": "How many orders are open?", "answer": "3"}'
            )
        return ListTasks(_tasks_of(Path(self._file).expanduser(), split))

    async def _look(self) -> None:
        await super()._look()
        if self._score_tool is not None:
            self._all.pop(self._score_tool, None)
            self._offer()

    @reward
    async def success(self, completion: str, answer: Any) -> float:
        """1 for the answer, or what the server says."""
        if self._score_tool is not None:
            return await self._scored(self._score_tool)
        if answer is None:
            raise VerifierError(f"the task {self.task.id} has no answer, and no score_tool is given")
        return float(" ".join(completion.split()).casefold() == " ".join(str(answer).split()).casefold())

    async def _scored(self, name: str) -> float:
        for bound in self.bound:
            if any(found.name == name for found in await bound.connection.tools()):
                server = bound.connection.server
                injected = {server.handle.argument: bound.handle} if server.handle else {}
                result = await bound.connection.call(name, injected)
                return _number(result, f"the tool {name} of the MCP server {server.name}")
        raise VerifierError(f"no MCP server has a tool {name!r} to score with")


def _number(result: mcp_types.CallToolResult, where: str) -> float:
    value: Any = result.structured_content
    if isinstance(value, Mapping):
        value = value.get("reward", value.get("result"))
    if value is None:
        texts = [block.text for block in result.content if isinstance(block, mcp_types.TextContent)]
        value = texts[0] if len(texts) == 1 else None
    try:
        if result.is_error:
            raise ValueError
        return float(value)
    except (TypeError, ValueError):
        said = [block.text for block in result.content if isinstance(block, mcp_types.TextContent)]
        raise VerifierError(f"{where} gives no number: {' '.join(said)[:200]!r}") from None


class _Row(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")

    prompt: str
    answer: Any = None
    id: str | None = None
    split: str = "train"


def _tasks_of(file: Path, split: str) -> list[Task]:
    if not file.is_file():
        raise MissingDataError(f"there is no file {file} with tasks")
    found = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = _Row.model_validate(json.loads(line))
        except ValueError as problem:
            raise ConfigError(f"{file}:{number} is no task: {str(problem).splitlines()[0]}") from None
        if row.split == split:
            found.append(Task.ask(row.id or f"{file.stem}-{number}", row.prompt, answer=row.answer))
    return found
