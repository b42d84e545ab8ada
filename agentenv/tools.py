"""Tools: a typed Python function, its JSON schema, and calls that cannot crash an episode.

Whatever the model sends — a tool that does not exist, arguments that are not JSON, a wrong type — becomes an
observation the model can read and correct, with a typed reason that metrics can count.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import ModuleType
from typing import Any, TypeVar, overload

import docstring_parser
import pydantic

from agentenv.arguments import (
    ArgumentsError,
    ArgumentsReader,
    ModelReader,
    NotJSONError,
    Repair,
    SchemaReader,
    decode,
)
from agentenv.clock import deadline
from agentenv.errors import AgentenvError, BoundaryError, nearest
from agentenv.marks import marked_names
from agentenv.messages import Message, Part, ToolCall, Wire, tool_result
from agentenv.threads import call_maybe_blocking

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """What a policy is told about a tool: name, description and JSON schema of its parameters."""

    name: str
    description: str
    parameters: Mapping[str, Any]

    def to_wire(self) -> Wire:
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> ToolSpec:
        function = wire["function"]
        return cls(function["name"], function.get("description", ""), function.get("parameters", {}))


class ToolError(AgentenvError):
    """What a tool raises to say that it could not do it, in its own words: `content` is what the model is shown."""

    def __init__(self, content: str | tuple[Part, ...]) -> None:
        super().__init__(content if isinstance(content, str) else "the tool reports an error")
        self.content = content


class ToolErrorKind(StrEnum):
    """Why a tool call gave no result."""

    UNKNOWN_TOOL = "unknown_tool"
    INVALID_JSON = "invalid_json"
    INVALID_ARGUMENTS = "invalid_arguments"
    RAISED = "raised"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    """It was not made: the episode's rules for tools do not allow it."""

    @property
    def invalid(self) -> bool:
        """Whether the call itself was wrong, so that nothing was done."""
        return self in (ToolErrorKind.UNKNOWN_TOOL, ToolErrorKind.INVALID_JSON, ToolErrorKind.INVALID_ARGUMENTS)


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """The result of one call: the message the policy sees, what went wrong, if anything, and what was put right."""

    call: ToolCall
    message: Message
    error: ToolErrorKind | None
    seconds: float
    repairs: tuple[Repair, ...] = ()


@dataclass(frozen=True, slots=True)
class Tool:
    """A callable with the schema of its arguments.

    `timeout` is in seconds. `inline=True` promises that a plain function is quick and never blocks.
    """

    spec: ToolSpec
    function: Callable[..., Any]
    reader: ArgumentsReader
    timeout: float
    inline: bool

    @classmethod
    def of(
        cls, function: Callable[..., Any], *, name: str | None = None, timeout: float = 30.0, inline: bool = False
    ) -> Tool:
        """Builds a tool from a function with type hints and a docstring (its `Args:` describe the parameters)."""
        name = name or function.__name__
        doc = docstring_parser.parse(inspect.getdoc(function) or "")
        described = {parameter.arg_name: parameter.description for parameter in doc.params}
        fields: dict[str, Any] = {}
        hints = inspect.signature(function, eval_str=True).parameters
        for parameter in hints.values():
            if parameter.name == "self" or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            if parameter.annotation is parameter.empty:
                raise AgentenvError(f"tool {name}: parameter {parameter.name!r} needs a type hint")
            default = ... if parameter.default is parameter.empty else parameter.default
            info = pydantic.Field(default, description=described.get(parameter.name))
            fields[parameter.name] = (parameter.annotation, info)
        config = pydantic.ConfigDict(extra="forbid")
        arguments = pydantic.create_model(name, __config__=config, **fields)
        schema = arguments.model_json_schema()
        schema.pop("title", None)
        for property_schema in schema.get("properties", {}).values():
            property_schema.pop("title", None)
        description = "\n".join(part for part in (doc.short_description, doc.long_description) if part)
        return cls(ToolSpec(name, description, schema), function, ModelReader(arguments), timeout, inline)

    @classmethod
    def described(
        cls, spec: ToolSpec, function: Callable[..., Any], *, timeout: float = 30.0, inline: bool = False
    ) -> Tool:
        """A tool that somebody else has described; the function gets the arguments by name, as they came.

        Raises:
            SchemaError: its schema is none. MissingExtraError: the extra `tools` is not installed.
        """
        return cls(spec, function, SchemaReader(spec.parameters), timeout, inline)


_MARK = "__agentenv_tool__"


@overload
def tool(function: Function, /) -> Function: ...
@overload
def tool(*, name: str | None = None, timeout: float = 30.0, inline: bool = False) -> Callable[[Function], Function]: ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    timeout: float = 30.0,
    inline: bool = False,
) -> Any:
    """Marks a typed function, or a method of a `ChatEnv`, as a tool.

    @tool
    def add(a: int, b: int) -> int:
        \"\"\"Adds two numbers.\"\"\"
        return a + b
    """

    def mark(marked: Callable[..., Any]) -> Callable[..., Any]:
        setattr(marked, _MARK, {"name": name, "timeout": timeout, "inline": inline})
        return marked

    return mark if function is None else mark(function)


def marked_tools(owner: object) -> tuple[Tool, ...]:
    """The tools an object's methods declare, in the order of their definition, base classes first."""
    bound = [getattr(owner, name) for name in marked_names(owner, _MARK)]
    return tuple(_bind(method) for method in bound if hasattr(method, _MARK))


def function_tools(module: ModuleType) -> list[Tool]:
    """The tools that a module's own functions are, in the order of their definition."""
    own = [value for value in vars(module).values() if hasattr(value, _MARK)]
    return [_bind(function) for function in dict.fromkeys(own) if function.__module__ == module.__name__]


def _bind(method: Callable[..., Any]) -> Tool:
    """The method's tool. The schema is built once per function, not once per episode."""
    function = getattr(method, "__func__", method)
    made = _tool_of(function)
    return Tool(made.spec, method, made.reader, made.timeout, made.inline)


@functools.lru_cache(maxsize=1024)
def _tool_of(function: Callable[..., Any]) -> Tool:
    return Tool.of(function, **getattr(function, _MARK))


class ToolSet:
    """The tools an episode offers, by name.

    Args:
        tools: marked functions, or tools.
        repair: whether arguments that miss JSON by little are read all the same (`agentenv.arguments.decode`).

    Raises:
        AgentenvError: two of them have one name.
    """

    def __init__(self, tools: Sequence[Tool | Callable[..., Any]], *, repair: bool = False) -> None:
        self._repair = repair
        self._tools: dict[str, Tool] = {}
        for item in tools:
            made = item if isinstance(item, Tool) else Tool.of(item, **getattr(item, _MARK, {}))
            if made.spec.name in self._tools:
                raise AgentenvError(f"two tools are named {made.spec.name!r}")
            self._tools[made.spec.name] = made
        self.specs = tuple(made.spec for made in self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    async def call_all(self, calls: Sequence[ToolCall]) -> list[ToolOutcome]:
        """Runs the calls of one turn side by side; outcomes come in the order of the calls.

        Those of tools that are all inline run one after the other, so what they change is changed in that order.
        """
        if len(calls) == 1 or all(call.name in self._tools and self._tools[call.name].inline for call in calls):
            return [await self.call(call) for call in calls]
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(self.call(call)) for call in calls]
        return [task.result() for task in running]

    async def call(self, call: ToolCall) -> ToolOutcome:
        """Runs one call. Only infrastructure failures (`BoundaryError`) and cancellation escape as exceptions."""
        started = time.perf_counter()
        repairs: tuple[Repair, ...] = ()
        try:
            found = self._found(call.name)
            raw, decoded = decode(call.arguments, repair=self._repair)
            values, fitted = found.reader.read(raw)
            repairs = decoded + fitted
            content, error = await _run(found, values)
        except _UnknownToolError as problem:
            content, error = f"Error: {problem}", ToolErrorKind.UNKNOWN_TOOL
        except NotJSONError as problem:
            content, error = f"Error: {problem}", ToolErrorKind.INVALID_JSON
        except ArgumentsError as problem:
            content, error = f"Error: invalid arguments: {problem}", ToolErrorKind.INVALID_ARGUMENTS
        message = tool_result(call.id, content, call.name)
        return ToolOutcome(call, message, error, time.perf_counter() - started, repairs)

    def _found(self, name: str) -> Tool:
        found = self._tools.get(name)
        if found is None:
            hint = nearest(name, self._tools) or f" The tools are: {', '.join(self._tools) or 'none'}."
            raise _UnknownToolError(f"there is no tool {name!r}.{hint}")
        return found


class _UnknownToolError(AgentenvError):
    """There is no tool of this name."""


Content = str | tuple[Part, ...]


async def _run(tool: Tool, values: dict[str, Any]) -> tuple[Content, ToolErrorKind | None]:
    """What a tool answers, or why it does not."""
    limit = None
    try:
        made = tool.function(**values) if tool.inline else call_maybe_blocking(tool.function, values, inline=False)
        if not inspect.isawaitable(made):
            return render_result(made), None
        async with deadline(tool.timeout) as limit:
            result = await made
    except BoundaryError:
        raise
    except ToolError as problem:
        return problem.content, ToolErrorKind.RAISED
    except TimeoutError as problem:
        if limit is not None and limit.expired():
            return f"Error: {tool.spec.name} gave no answer in {tool.timeout:g} s.", ToolErrorKind.TIMEOUT
        return f"Error: TimeoutError: {problem}", ToolErrorKind.RAISED
    except Exception as problem:
        return f"Error: {type(problem).__name__}: {problem}", ToolErrorKind.RAISED
    return render_result(result), None


_ANYTHING: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(Any)


def render_result(result: object) -> Content:
    """What a policy sees of a tool's return value: text and parts as they are, anything else as JSON."""
    if isinstance(result, str):
        return result
    if isinstance(result, Part):
        return (result,)
    if isinstance(result, tuple) and result and all(isinstance(part, Part) for part in result):
        return result
    return _ANYTHING.dump_json(result, fallback=str).decode()
