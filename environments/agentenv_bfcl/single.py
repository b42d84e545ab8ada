"""`bfcl/single-v0`: one question, some functions, one message with the right calls, or with none."""

from __future__ import annotations

import functools
import json
from collections.abc import Hashable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from agentenv.arguments import NotJSONError, decode
from agentenv.env import Action, Env, Info, Observation, StepResult
from agentenv.errors import AgentenvError, ConfigError, nearest
from agentenv.messages import Message, ToolCall, assistant, system
from agentenv.rewards import Component, Reward
from agentenv.tasks import ListTasks, Task, TaskSet
from agentenv.tools import ToolSpec
from agentenv_bfcl.functions import tool_name, tool_spec
from agentenv_bfcl.matching import OPTIONAL, Allowed, Call, mismatch
from agentenv_bfcl.source import Row, answers, questions


class Category(StrEnum):
    """A part of BFCL's single-turn questions."""

    SIMPLE = "simple_python"
    MULTIPLE = "multiple"
    PARALLEL = "parallel"
    PARALLEL_MULTIPLE = "parallel_multiple"
    IRRELEVANCE = "irrelevance"
    LIVE_SIMPLE = "live_simple"
    LIVE_MULTIPLE = "live_multiple"
    LIVE_PARALLEL = "live_parallel"
    LIVE_PARALLEL_MULTIPLE = "live_parallel_multiple"
    LIVE_IRRELEVANCE = "live_irrelevance"
    LIVE_RELEVANCE = "live_relevance"

    @property
    def asks_for(self) -> bool | None:
        """Whether any call is right (true) or none is (false); `None` where certain calls are due."""
        return {
            Category.LIVE_RELEVANCE: True,
            Category.IRRELEVANCE: False,
            Category.LIVE_IRRELEVANCE: False,
        }.get(self)

    @classmethod
    def chosen(cls, names: str | Sequence[str] | None) -> tuple[Category, ...]:
        """The categories of these names; all of them by default.

        Raises:
            ConfigError: there is no such category here.
        """
        asked = list(cls) if names is None else [names] if isinstance(names, str) else list(names)
        known = [category.value for category in cls]
        for name in asked:
            if name in ("simple_java", "simple_javascript"):
                raise ConfigError(f"{name} is not offered: its arguments are Java or JavaScript source, not JSON")
            if name not in known:
                hint = nearest(name, known) or f" There are {', '.join(known)}."
                raise ConfigError(f"BFCL has no single-turn category {name!r}.{hint}")
        if not asked:
            raise ConfigError(f"categories is empty; there are {', '.join(cls)}")
        return tuple(cls(name) for name in dict.fromkeys(asked))


class SingleTurn(Env):
    """A question and some functions. The first message is the answer, and no function is ever called.

    The reward is 1 when the message's calls are those that the task allows, by BFCL's rules (`matching`); where no
    function fits the question, when there is no call. `info["verdict"]` says what is wrong with an answer.

    Args:
        categories: names of `Category`, or one of them; by default all.
        default_split: the split the tasks belong to. They are a benchmark: nothing should be trained on them.
        system_prompt: sent first when it is not empty.

    Raises:
        ConfigError: there is no such category here. MissingDataError: BFCL's data are not installed.
    """

    def __init__(
        self,
        categories: str | Sequence[str] | None = None,
        default_split: str = "test",
        system_prompt: str = "",
    ) -> None:
        self._categories = Category.chosen(categories)
        self._default_split = default_split
        self._system_prompt = system_prompt
        self._answered = False
        self._specs: tuple[ToolSpec, ...] = ()

    def tasks(self, split: str = "train") -> TaskSet:
        if split != self._default_split:
            raise ConfigError(f"BFCL is played as the split {self._default_split!r}; there is no {split!r} of it")
        return ListTasks([task for category in self._categories for task in _tasks(category, split)])

    async def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        self.begin(task, seed)
        self._answered = False
        self._specs = tuple(tool_spec(function) for function in self.task.data["functions"])
        head = (system(self._system_prompt),) if self._system_prompt else ()
        return Observation(head + self.task.prompt, self._specs), {}

    async def step(self, action: Action) -> StepResult:
        if self._answered:
            raise AgentenvError("bfcl/single-v0: the episode is over after one message; call reset()")
        self._answered = True
        calls = read_calls(action.message.tool_calls)
        wrong = judge(self.task, calls)
        info = {"metrics": {"tool_calls": len(action.message.tool_calls)}, "verdict": wrong or "right"}
        reward = Reward.of(Component("correct", float(wrong is None)))
        return StepResult(Observation((), self._specs), reward, True, False, info)

    def oracle(self) -> Message:
        """An allowed answer. Four of BFCL's questions have none: what they ask for contradicts itself."""
        calls = [
            ToolCall(f"call_{index}", call.name, json.dumps(call.arguments))
            for index, call in enumerate(right_calls(self.task))
        ]
        return assistant(None, *calls) if calls else assistant("None of the functions can do this.")

    def state_key(self) -> Hashable:
        return self.task.id


def read_calls(calls: Sequence[ToolCall]) -> tuple[Call, ...] | None:
    """The calls with their arguments, or `None` where one of them cannot be read: then the message makes no call."""
    found = []
    for call in calls:
        try:
            arguments, _ = decode(call.arguments)
        except NotJSONError:
            return None
        if not isinstance(arguments, dict):
            return None
        found.append(Call(call.name, arguments))
    return tuple(found)


def judge(task: Task, calls: Sequence[Call] | None) -> str | None:
    """What is wrong with an answer, or `None` when it is right. `calls` is what `read_calls` made of it."""
    asks_for = Category(task.data["category"]).asks_for
    if asks_for is not None:
        return None if bool(calls) == asks_for else "no call is made" if asks_for else "a call is made"
    if calls is None:
        return "the arguments of a call are no JSON object"
    return mismatch(task.data["functions"], calls, task.answer)


def right_calls(task: Task) -> list[Call]:
    """Calls that the task allows."""
    category = Category(task.data["category"])
    if category.asks_for is not None:
        return [Call(tool_name(task.data["functions"][0]["name"]), {})] if category.asks_for else []
    described = {function["name"]: function["parameters"] for function in task.data["functions"]}
    return [_right_call(described, due) for due in task.answer]


def _right_call(described: Mapping[str, Mapping[str, Any]], due: Allowed) -> Call:
    ((name, allowed),) = due.items()
    parameters = described[name]
    arguments = {}
    for parameter, values in allowed.items():
        options = [value for value in values if value != OPTIONAL]
        if options and parameter in parameters["properties"]:
            arguments[parameter] = _first(options[0])
        elif parameter in parameters.get("required", ()):  # may be left out, and must be there: the empty text is both
            arguments[parameter] = OPTIONAL
    return Call(tool_name(name), arguments)


def _first(option: Any) -> Any:
    """An allowed value; objects have a choice of values for each key."""
    if isinstance(option, dict):
        chosen = {key: [value for value in values if value != OPTIONAL] for key, values in option.items()}
        return {key: values[0] for key, values in chosen.items() if values}
    return [_first(item) if isinstance(item, dict) else item for item in option] if isinstance(option, list) else option


@functools.lru_cache(maxsize=64)
def _tasks(category: Category, split: str) -> tuple[Task, ...]:
    """The rows of a category. An environment is made per episode, so they are read once."""
    allowed = answers(category) if category.asks_for is None else {}
    return tuple(_task(row, category, allowed.get(row["id"]), split) for row in questions(category))


def _task(row: Row, category: Category, allowed: object, split: str) -> Task:
    prompt = tuple(Message.from_wire(message) for message in row["question"][0])
    return Task(row["id"], prompt, allowed, {"category": category.value, "functions": row["function"]}, split)
