"""Policies that need no model: scripted replies, a function, the environment's oracle, silence, and dice."""

from __future__ import annotations

import inspect
import json
import random
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from agentenv.errors import ConfigError, ModelError, UnsupportedError
from agentenv.messages import Message, Role, ToolCall, assistant
from agentenv.policy.contract import Completion, Policy, Sampling, Session
from agentenv.tools import ToolSpec

Answer = Message | str
"""What a script says: a whole message, or the text of one."""

Reply = Callable[[Sequence[Message], Sequence[ToolSpec], Session], Answer | Awaitable[Answer]]


def turn_of(messages: Sequence[Message]) -> int:
    """How many assistant messages came before: 0 on the first turn of an episode without worked examples."""
    return sum(message.role is Role.ASSISTANT for message in messages)


class _Local(Policy):
    """A policy that answers in process with one message."""

    @abstractmethod
    async def answer(self, messages: Sequence[Message], tools: Sequence[ToolSpec], session: Session) -> Answer:
        """The next assistant message."""

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], sampling: Sampling, session: Session
    ) -> Completion:
        answer = await self.answer(messages, tools, session)
        message = assistant(answer) if isinstance(answer, str) else answer
        return Completion(message, "tool_calls" if message.tool_calls else "stop", model=self.name)


class ScriptedPolicy(_Local):
    """Says `replies` one after the other, in every episode from the start.

    >>> policy = ScriptedPolicy(["First I think.", assistant(None, ToolCall("1", "add", '{"a": 1, "b": 2}')), "3"])
    """

    def __init__(self, replies: Sequence[Answer], *, name: str = "scripted") -> None:
        self.name = name
        self._replies = tuple(replies)

    async def answer(self, messages: Sequence[Message], tools: Sequence[ToolSpec], session: Session) -> Answer:
        turn = turn_of(messages)
        if turn >= len(self._replies):
            raise ModelError(f"the script has {len(self._replies)} replies, and turn {turn + 1} asked for one more")
        return self._replies[turn]


class CallablePolicy(_Local):
    """Says what a function of the conversation, the tools and the session returns; the function may be async.

    >>> policy = CallablePolicy(lambda messages, tools, session: messages[-1].text.upper())
    """

    def __init__(self, reply: Reply, *, name: str = "callable") -> None:
        self.name = name
        self._reply = reply

    async def answer(self, messages: Sequence[Message], tools: Sequence[ToolSpec], session: Session) -> Answer:
        answer = self._reply(messages, tools, session)
        return await answer if inspect.isawaitable(answer) else answer


class OraclePolicy(_Local):
    """Says what the environment's own `oracle()` would: the upper bound every environment should reach."""

    name = "oracle"

    async def answer(self, messages: Sequence[Message], tools: Sequence[ToolSpec], session: Session) -> Answer:
        if session.env is None:
            raise UnsupportedError("the oracle policy needs the running environment; it cannot play at a distance")
        return session.env.oracle()


class NoopPolicy(_Local):
    """Says nothing, every turn: the lower bound an honest verifier does not reward."""

    name = "noop"

    async def answer(self, messages: Sequence[Message], tools: Sequence[ToolSpec], session: Session) -> Answer:
        return ""


class RandomPolicy(_Local):
    """Rolls dice: short random text, or a call of a random tool with arguments that fit its schema by type.

    The dice depend on the episode's seed and the turn alone, so a run can be repeated.
    """

    name = "random"

    def __init__(self, *, call_probability: float = 0.7) -> None:
        if not 0 <= call_probability <= 1:
            raise ConfigError(f"call_probability must lie between 0 and 1, got {call_probability}")
        self._call_probability = call_probability

    async def answer(self, messages: Sequence[Message], tools: Sequence[ToolSpec], session: Session) -> Answer:
        turn = turn_of(messages)
        rng = random.Random(f"{session.seed}/{turn}")
        if tools and rng.random() < self._call_probability:
            tool = rng.choice(list(tools))
            arguments = random_value({**tool.parameters, "type": "object"}, rng, tool.parameters)
            return assistant(None, ToolCall(f"call_{turn}", tool.name, json.dumps(arguments)))
        return _random_text(rng)


_WORDS = (
    "yes",
    "no",
    "the",
    "answer",
    "is",
    "left",
    "right",
    "up",
    "down",
    "north",
    "0",
    "1",
    "2",
    "7",
    "42",
    "-1",
    "a",
)
_DEEPEST = 4


def random_value(schema: Mapping[str, Any], rng: random.Random, root: Mapping[str, Any], depth: int = 0) -> Any:
    """A value that fits a JSON schema by type, required properties and `enum`; ranges and patterns are ignored.

    `root` is the schema whose `$defs` references point into. Below four levels containers stay empty.
    """
    if "$ref" in schema:
        target: Any = root
        for step in str(schema["$ref"]).removeprefix("#/").split("/"):
            target = target.get(step, {})
        return random_value(target, rng, root, depth + 1) if depth < 2 * _DEEPEST else None
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return rng.choice(list(schema["enum"]))
    for choice in ("anyOf", "oneOf"):
        if schema.get(choice):
            return random_value(rng.choice(list(schema[choice])), rng, root, depth + 1)
    kind = schema.get("type", "string")
    match rng.choice(kind) if isinstance(kind, list) else kind:
        case "object":
            required = schema.get("required", ())
            chosen = {
                name: inner
                for name, inner in schema.get("properties", {}).items()
                if name in required or (depth < _DEEPEST and rng.random() < 0.5)
            }
            return {name: random_value(inner, rng, root, depth + 1) for name, inner in chosen.items()}
        case "array":
            length = rng.randint(0, 3) if depth < _DEEPEST else 0
            return [random_value(schema.get("items", {}), rng, root, depth + 1) for _ in range(length)]
        case "integer":
            return rng.randint(-10, 100)
        case "number":
            return round(rng.uniform(-10, 100), 2)
        case "boolean":
            return rng.random() < 0.5
        case "null":
            return None
        case _:
            return _random_text(rng)


def _random_text(rng: random.Random) -> str:
    return " ".join(rng.choice(_WORDS) for _ in range(rng.randint(1, 5)))


def _without_argument(name: str, argument: str | None) -> None:
    if argument is not None:
        raise ConfigError(f"the policy {name!r} takes no argument, got {argument!r}; write --policy {name}")


def make_oracle(argument: str | None = None) -> OraclePolicy:
    """Plays what the environment's own oracle says: the upper bound."""
    _without_argument("oracle", argument)
    return OraclePolicy()


def make_noop(argument: str | None = None) -> NoopPolicy:
    """Says nothing: the lower bound."""
    _without_argument("noop", argument)
    return NoopPolicy()


def make_random(argument: str | None = None, *, call_probability: float = 0.7) -> RandomPolicy:
    """Rolls dice: random text and random tool calls, repeatable by seed. Option: call_probability."""
    _without_argument("random", argument)
    return RandomPolicy(call_probability=call_probability)
