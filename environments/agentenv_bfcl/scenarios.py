"""A multi-turn task, worked out: what its worlds begin with, and what its ground truth does to them turn by turn."""

from __future__ import annotations

import functools
import json
import pickle
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from agentenv.errors import ConfigError, nearest
from agentenv.messages import Message, ToolCall, assistant, user
from agentenv.tasks import Task
from agentenv.tools import ToolError, ToolSpec
from agentenv_bfcl.calls import PythonCall
from agentenv_bfcl.functions import tool_spec
from agentenv_bfcl.simulators import State, Worlds, initial_worlds
from agentenv_bfcl.source import Row, Simulator, answers, questions, simulator_class, simulator_functions

MORE_FUNCTIONS = "I have updated some more functions you can choose from. What about now?"
"""What BFCL's user says when functions that were held back appear."""


class Category(StrEnum):
    """A part of BFCL's conversations.

    `MISS_FUNC` holds functions back until the user notices, `MISS_PARAM` lets the user forget to say something,
    `LONG_CONTEXT` fills the worlds up.
    """

    BASE = "base"
    MISS_FUNC = "miss_func"
    MISS_PARAM = "miss_param"
    LONG_CONTEXT = "long_context"

    @classmethod
    def chosen(cls, name: str | None) -> tuple[Category, ...]:
        """The category of this name; all of them by default.

        Raises:
            ConfigError: there is no such category.
        """
        if name is None:
            return tuple(cls)
        known = [category.value for category in cls]
        if name not in known:
            hint = nearest(name, known) or f" There are {', '.join(known)}."
            raise ConfigError(f"BFCL has no multi-turn category {name!r}.{hint}")
        return (cls(name),)


@dataclass(frozen=True, slots=True)
class Offer:
    """A function of a simulator, as it is offered."""

    simulator: Simulator
    spec: ToolSpec


@dataclass(frozen=True, slots=True)
class TrueCall:
    """A call of the ground truth. `arguments` are JSON: simulators keep lists they are given, and change them later."""

    function: str
    arguments: str


@functools.lru_cache(maxsize=8192)
def message_of(turn: int, calls: tuple[TrueCall, ...]) -> Message:
    """The message that makes these calls in the user's turn of this number."""
    return assistant(
        None,
        *(ToolCall(f"call_{turn}_{index}", call.function, call.arguments) for index, call in enumerate(calls)),
    )


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn of the user, and what the ground truth does in it.

    Attributes:
        messages: what the user says. revealed: names of the functions that appear with it.
        calls: of the ground truth; none where the user asks for what cannot be done.
        responses: what they answer, and how often. state: of the worlds after them.
    """

    messages: tuple[Message, ...]
    revealed: frozenset[str]
    calls: tuple[TrueCall, ...]
    responses: Counter[str]
    state: State


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a task is made of. `initial` are its worlds, frozen."""

    initial: bytes
    offers: tuple[Offer, ...]
    turns: tuple[Turn, ...]

    @property
    def asks_for_nothing(self) -> bool:
        """Whether the ground truth makes no call at all."""
        return not any(turn.calls for turn in self.turns)


def read_tasks(category: Category, split: str) -> tuple[Task, ...]:
    """The rows of a category, as a worker needs them: nothing but JSON.

    Raises:
        MissingDataError: the data are not installed.
    """
    truths = answers(f"multi_turn_{category}")
    return tuple(_task(row, truths[row["id"]], category, split) for row in questions(f"multi_turn_{category}"))


def _task(row: Row, truth: object, category: Category, split: str) -> Task:
    data = {
        "category": category.value,
        "simulators": row["involved_classes"],
        "initial": row["initial_config"],
        "turns": row["question"],
        "held_back": row.get("missed_function", {}),
    }
    opening = tuple(Message.from_wire(message) for message in row["question"][0])
    return Task(row["id"], opening, truth, data, split)


def scenario_of(task: Task) -> Scenario:
    """The task, worked out. It is kept, so that siblings and later episodes have it at once.

    Raises:
        ConfigError: its ground truth cannot be played. MissingDataError: the simulators are not installed.
    """
    kept = _KEPT.get(task.id)
    if kept is not None and (kept[0] is task or kept[0] == task):
        _KEPT.move_to_end(task.id)
        return kept[1]
    scenario = _work_out(task)
    _KEPT[task.id] = task, scenario
    _KEPT.move_to_end(task.id)
    if len(_KEPT) > _MOST_KEPT:
        _KEPT.popitem(last=False)
    return scenario


def forget_scenarios() -> None:
    """Lets `scenario_of` begin anew, as in a new process."""
    _KEPT.clear()


_MOST_KEPT = 1024
_KEPT: OrderedDict[str, tuple[Task, Scenario]] = OrderedDict()
"""By the task's id. The values are never changed."""


def _work_out(task: Task) -> Scenario:
    data = task.data
    simulators = tuple(Simulator(name) for name in data["simulators"])
    offers, owners = _offers(simulators), _owners(simulators)
    initial = initial_worlds(data["initial"], simulators, long_context=data["category"] == Category.LONG_CONTEXT)
    worlds = Worlds.thaw(initial)
    if len(task.answer) != len(data["turns"]):
        raise ConfigError(f"{task.id}: {len(data['turns'])} turns, but a ground truth for {len(task.answer)}")
    turns, state = [], _kept(worlds.state, {})
    for index, (wire, texts) in enumerate(zip(data["turns"], task.answer, strict=True)):
        calls = tuple(_true_call(text, simulators) for text in texts)
        responses = Counter(_response(call, worlds, owners) for call in calls)
        touched = {owners[call.function] for call in calls}
        state = {**state, **_kept({name: held for name, held in worlds.state.items() if name in touched}, state)}
        messages = tuple(Message.from_wire(message) for message in wire) or (user(MORE_FUNCTIONS),)
        revealed = frozenset(data["held_back"].get(str(index), ()))
        turns.append(Turn(messages, revealed, calls, responses, state))
    return Scenario(initial, offers, tuple(turns))


@functools.lru_cache(maxsize=4096)
def _true_call(text: str, simulators: tuple[Simulator, ...]) -> TrueCall:
    """The call that a text of the ground truth is. Most are part of several tasks."""
    call = PythonCall.parse(text)
    owner = _owners(simulators).get(call.function)
    if owner is None:
        raise ConfigError(f"a ground truth calls {call.function}, which no simulator of its task has")
    return TrueCall(call.function, call.arguments(getattr(simulator_class(owner), call.function)))


def _response(call: TrueCall, worlds: Worlds, owners: Mapping[str, Simulator]) -> str:
    """What a call of the ground truth answers."""
    try:
        return worlds.function(owners[call.function], call.function)(**json.loads(call.arguments))
    except ToolError as error:
        return str(error)


def _kept(state: State, before: State) -> State:
    """A copy of a state, which shares with the one before what has not changed."""
    copied = {}
    for simulator, held in state.items():
        old = before.get(simulator, {})
        same = {name: old[name] for name, value in held.items() if name in old and old[name] == value}
        fresh = pickle.loads(pickle.dumps({name: value for name, value in held.items() if name not in same}))
        copied[simulator] = {**same, **fresh}
    return copied


@functools.cache
def _offers(simulators: tuple[Simulator, ...]) -> tuple[Offer, ...]:
    return tuple(
        Offer(simulator, tool_spec(function)) for simulator in simulators for function in simulator_functions(simulator)
    )


@functools.cache
def _owners(simulators: tuple[Simulator, ...]) -> Mapping[str, Simulator]:
    """Which simulator a function is of, by the function's name."""
    return {offer.spec.name: offer.simulator for offer in _offers(simulators)}
