"""An environment as tools: one to begin an episode, its own, and one to answer with."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import mcp_types as types

from agentenv.env import Observation, StepResult
from agentenv.errors import AgentenvError, BoundaryError
from agentenv.mcp.server.content import blocks, told
from agentenv.mcp.server.episodes import Episodes
from agentenv.mcp.server.played import Played
from agentenv.messages import ToolCall, assistant
from agentenv.outcome import classify
from agentenv.tools import Content, ToolError, ToolSpec

START, ANSWER, SCORE, END = "start_episode", "answer", "score", "end_episode"
_OURS = re.compile(rf"(tool_)*({START}|{ANSWER}|{SCORE}|{END})")
"""Names that are ours, and what an environment's tools of such names become: no two become the same."""
_HANDLE = "What start_episode returned as `episode`."


class EnvironmentTools:
    """What a server offers to play an environment.

    Every call belongs to the episode whose handle it carries. With `implicit` the handle may be left out: then it is
    the one that was begun last, which is right where there is one client, on standard streams.

    Args:
        episodes: where they are kept. score: whether clients may ask what an episode has earned.
    """

    def __init__(self, episodes: Episodes, *, score: bool = False, implicit: bool = False) -> None:
        self._episodes, self._score, self._implicit = episodes, score, implicit
        self._tools: dict[str, ToolSpec] = {}
        self._current: Played | None = None
        self.revision = 0

    @property
    def instructions(self) -> str:
        about = self._episodes.spec.description
        return (
            f"{about + ' ' if about else ''}Call {START}; it returns the task and the handle of the episode. Then use "
            f"the other tools, and give your final answer, or say anything, with {ANSWER}."
        )

    async def open(self) -> None:
        """Finds out which tools there are, in an episode that nobody plays.

        Raises:
            AgentenvError: the environment cannot be played.
        """
        try:
            self._learn(await self._episodes.look())
        except ToolError as error:
            raise AgentenvError(f"{self._episodes.spec.id}: {error.content}") from error

    def listed(self) -> list[types.Tool]:
        """All tools that are known."""
        return [*self._own(), *(self._shown(name, spec) for name, spec in self._tools.items())]

    async def call(self, name: str, arguments: Mapping[str, Any]) -> types.CallToolResult:
        """The result of one call; whatever goes wrong is one too."""
        try:
            if name == START:
                return await self._begin(**_known(arguments, "task", "split", "seed"))
            argument = self._handle_of(name)
            played = self._played(arguments, argument)
            rest = {key: value for key, value in arguments.items() if key != argument}
            if name == ANSWER:
                return await self._answer(played, _text(rest))
            if name == END:
                await self._episodes.close(played.handle)
                return _said("The episode has ended.")
            if name == SCORE and self._score:
                return _scored(played)
            return await self._call(played, name, rest)
        except ToolError as error:
            return types.CallToolResult(content=blocks(error.content), is_error=True)
        except BoundaryError as error:
            return _failed(error)

    async def _begin(
        self, task: str | None = None, split: str = "train", seed: int | None = None
    ) -> types.CallToolResult:
        played = await self._episodes.begin(task=task, split=split, seed=seed)
        self._current = played
        self._learn(played.opening)
        handle = types.TextContent(text=f"Episode {played.handle} has begun.")
        return types.CallToolResult(
            content=[handle, *told(played.opening.messages)],
            structured_content={
                "episode": played.handle,
                "task": played.task.id,
                "messages": [message.to_wire() for message in played.opening.messages],
                "tools": [self._name_of(spec.name) for spec in played.opening.tools],
            },
        )

    async def _call(self, played: Played, name: str, arguments: Mapping[str, Any]) -> types.CallToolResult:
        if name not in self._tools:
            raise ToolError(f"Error: there is no tool {name!r}.")
        call = ToolCall(f"call_{len(played.turns)}", self._tools[name].name, json.dumps(arguments))
        result = await self._episodes.step(played, assistant(None, call))
        self._learn(result.observation)
        content: list[types.ContentBlock] = []
        for message in result.observation.messages:
            content += blocks(message.content) if message.tool_call_id == call.id else told([message])
        failed = any(tool.get("error") for tool in result.info.get("tools", ()))
        return types.CallToolResult(content=[*content, *self._ending(played, result)], is_error=failed)

    async def _answer(self, played: Played, text: str) -> types.CallToolResult:
        result = await self._episodes.step(played, assistant(text))
        self._learn(result.observation)
        content = told(result.observation.messages)
        return types.CallToolResult(content=[*content, *self._ending(played, result)])

    def _ending(self, played: Played, result: StepResult) -> list[types.ContentBlock]:
        if not played.over:
            return []
        why = result.info.get("stop_reason") or ("a limit was reached" if played.truncated else "")
        said = f"The episode is over{f': {why}' if why else ''}."
        if self._score:
            said += f" {_earned(played)}"
        return [types.TextContent(text=said)]

    def _handle_of(self, name: str) -> str:
        """Which argument of a tool is the handle: another one where the tool has an `episode` of its own."""
        spec = self._tools.get(name)
        return (
            "episode_handle" if spec is not None and "episode" in spec.parameters.get("properties", {}) else "episode"
        )

    def _played(self, arguments: Mapping[str, Any], argument: str) -> Played:
        handle = arguments.get(argument)
        if handle is None and self._implicit and self._current is not None:
            handle = self._current.handle
        if not isinstance(handle, str):
            raise ToolError(f"Error: a call needs {argument!r}, the handle that {START} returns.")
        return self._episodes.find(handle)

    def _learn(self, observation: Observation) -> None:
        """Takes note of tools that were not known before."""
        for spec in observation.tools:
            name = self._name_of(spec.name)
            if self._tools.get(name) != spec:
                self._tools[name] = spec
                self.revision += 1

    def _name_of(self, name: str) -> str:
        return f"tool_{name}" if _OURS.fullmatch(name) else name

    def _shown(self, name: str, spec: ToolSpec) -> types.Tool:
        return types.Tool(
            name=name,
            description=spec.description,
            input_schema=self._with_handle(dict(spec.parameters), self._handle_of(name)),
        )

    def _with_handle(self, schema: dict[str, Any], argument: str = "episode") -> dict[str, Any]:
        handle = {"type": "string", "description": _HANDLE}
        schema["type"] = "object"
        schema["properties"] = {**schema.get("properties", {}), argument: handle}
        if not self._implicit:
            schema["required"] = [*schema.get("required", []), argument]
        return schema

    def _own(self) -> list[types.Tool]:
        text = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
        begin = {
            "type": "object",
            "properties": {
                "task": {"type": "string", "description": "The id of a task; drawn unless given."},
                "split": {"type": "string", "description": "Where the task is from: train, dev or test."},
                "seed": {"type": "integer", "description": "The same seed draws the same task and world."},
            },
        }
        nothing: dict[str, Any] = {"type": "object"}
        described = [
            (START, "Begins an episode: returns its task, and the handle that belongs into every other call.", begin),
            (ANSWER, "Says something to the environment, such as the final answer.", self._with_handle(text)),
            (END, "Ends an episode before it is over.", self._with_handle(dict(nothing))),
        ]
        if self._score:
            described.append((SCORE, "What the episode has earned so far.", self._with_handle(dict(nothing))))
        return [types.Tool(name=name, description=about, input_schema=schema) for name, about, schema in described]


def _known(arguments: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The arguments of a tool of ours, each of its kind."""
    kinds: dict[str, type] = {"task": str, "split": str, "seed": int}
    for name, value in arguments.items():
        if name not in names:
            raise ToolError(f"Error: there is no argument {name!r}; there are {', '.join(names)}.")
        if not isinstance(value, kinds[name]) or isinstance(value, bool):
            raise ToolError(f"Error: {name} must be {'a number' if kinds[name] is int else 'text'}, got {value!r:.80}")
    return dict(arguments)


def _text(arguments: Mapping[str, Any]) -> str:
    text = arguments.get("text")
    if not isinstance(text, str) or len(arguments) != 1:
        raise ToolError(f"Error: {ANSWER} takes one text, got {', '.join(arguments) or 'nothing'}.")
    return text


def _said(content: Content) -> types.CallToolResult:
    return types.CallToolResult(content=blocks(content))


def _earned(played: Played) -> str:
    if played.earned is None:
        return "It was not scored."
    parts = ", ".join(f"{part.name} {part.value * part.weight:g}" for part in played.earned.components)
    return f"Its reward is {float(played.earned):g}{f' ({parts})' if parts else ''}."


def _scored(played: Played) -> types.CallToolResult:
    earned = played.earned
    components = (
        []
        if earned is None
        else [{"name": part.name, "value": part.value, "weight": part.weight} for part in earned.components]
    )
    return types.CallToolResult(
        content=blocks(_earned(played)),
        structured_content={
            "reward": None if earned is None else float(earned),
            "components": components,
            "terminated": played.terminated,
            "truncated": played.truncated,
            "turns": len(played.turns),
        },
    )


def _failed(error: BoundaryError) -> types.CallToolResult:
    """A failure of the episode, which is nobody else's and no zero."""
    status = classify(error, "").status
    said = f"Error: the episode failed ({status.value}): {error}. It is not scored; {START} begins another."
    return types.CallToolResult(content=blocks(said), is_error=True)
