"""Rewards as named, weighted components. The total is derived from the parts, never the other way round."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar, overload

from agentenv.errors import AgentenvError, RewardTypeError, VerifierError
from agentenv.marks import marked_names
from agentenv.outcome import Boundary, boundary
from agentenv.threads import call_maybe_blocking

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Component:
    """One named part of a reward: what the verifier said, and how much it counts."""

    name: str
    value: float
    weight: float = 1.0


class Reward(float):
    """A step's reward: the weighted sum of its components, usable wherever a float is.

    >>> reward = Reward.of(Component("correct", 1.0), Component("brevity", 0.5, weight=0.2))
    >>> float(reward), reward.components[0].name
    (1.1, 'correct')
    """

    components: tuple[Component, ...]

    def __new__(cls, value: float, components: tuple[Component, ...]) -> Self:
        self = super().__new__(cls, value)
        self.components = components
        return self

    @classmethod
    def of(cls, *components: Component) -> Self:
        """The reward these components add up to; no component at all is the plain 0 of an intermediate step."""
        return cls(math.fsum(component.value * component.weight for component in components), components)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (float(self), self.components)


def as_reward(value: object, where: str) -> Reward | None:
    """Accepts what an environment returned as its reward, or says exactly what is wrong with it.

    Args:
        value: a finite real number, a `Reward`, or `None` for "not scored". A bool counts as 0 or 1.
        where: the environment's name, for the message.

    Raises:
        RewardTypeError: for anything else: a string, NaN, an infinity, an array.
    """
    if value is None or isinstance(value, Reward):
        if value is not None and not math.isfinite(value):
            raise RewardTypeError(f"{where} returned the reward {float(value)}, which is not finite")
        return value
    if isinstance(value, (str, bytes)) or not hasattr(value, "__float__"):
        raise RewardTypeError(f"{where} returned a reward of type {type(value).__name__}: {value!r:.80}")
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise RewardTypeError(f"{where} returned a reward that is not a number: {value!r:.80}") from error
    if not math.isfinite(number):
        raise RewardTypeError(f"{where} returned the reward {number}, which is not finite")
    return Reward(number, (Component("reward", number),))


@dataclass(frozen=True, slots=True)
class RewardFunction:
    """A function that scores one component. Its parameters are filled by name from what the environment offers.

    `inline=True` promises that a plain function is quick and never blocks, and saves the hop to a worker thread.
    """

    function: Callable[..., Any]
    name: str
    weight: float
    inline: bool

    async def score(self, offered: Mapping[str, Any], where: str) -> Component | None:
        """Calls the function with the parameters it names.

        Returns `None` where the function returned `None` (not scored).

        Raises:
            VerifierError: the function raised, asked for a parameter nobody offers, or returned no finite number.
        """
        here = f"{where}.{self.name}"
        wanted = _parameters(self.function)
        missing = [name for name, required in wanted if required and name not in offered]
        if missing:
            raise VerifierError(f"{here} asks for {', '.join(missing)}; offered are {', '.join(sorted(offered))}")
        arguments = {name: offered[name] for name, _ in wanted if name in offered}
        with boundary(Boundary.VERIFIER, here):
            raw = await call_maybe_blocking(self.function, arguments, inline=self.inline)
        value = as_reward(raw, here)
        return None if value is None else Component(self.name, float(value), self.weight)


def _parameters(function: Callable[..., Any]) -> tuple[tuple[str, bool], ...]:
    """(name, required) of every parameter that can be passed by name."""
    if inspect.ismethod(function):  # every environment has another, of one and the same function
        return _parameters_of(function.__func__, bound=True)
    return _parameters_of(function, bound=False)


@functools.lru_cache(maxsize=1024)
def _parameters_of(function: Callable[..., Any], *, bound: bool) -> tuple[tuple[str, bool], ...]:
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = list(inspect.signature(function).parameters.values())
    return tuple(
        (parameter.name, parameter.default is inspect.Parameter.empty)
        for parameter in (parameters[1:] if bound else parameters)
        if parameter.kind in by_name and parameter.name != "self"
    )


_MARK = "__agentenv_reward__"


@overload
def reward(function: Function, /) -> Function: ...
@overload
def reward(*, weight: float = 1.0, name: str | None = None, inline: bool = False) -> Callable[[Function], Function]: ...
def reward(
    function: Callable[..., Any] | None = None,
    /,
    *,
    weight: float = 1.0,
    name: str | None = None,
    inline: bool = False,
) -> Any:
    """Marks a method of a `ChatEnv` as a reward component.

    Parameters are injected by name: `task`, `answer` (the task's), `completion` (text of the last assistant
    message), `message`, `messages` (the whole conversation), `turns`, `tool_calls`, `tool_errors`.

        class Riddles(ChatEnv):
            @reward(weight=1.0)
            def correct(self, completion: str, answer: str) -> float:
                return float(completion.strip() == answer)
    """
    if not math.isfinite(weight):
        raise AgentenvError(f"a reward's weight must be finite, got {weight}")

    def mark(marked: Callable[..., Any]) -> Callable[..., Any]:
        setattr(marked, _MARK, (name or marked.__name__, weight, inline))
        return marked

    return mark if function is None else mark(function)


def reward_functions(owner: object) -> tuple[RewardFunction, ...]:
    """The reward components an object's methods declare, in the order of their definition, base classes first."""
    found = []
    for attribute in marked_names(owner, _MARK):
        bound = getattr(owner, attribute)
        if hasattr(bound, _MARK):
            name, weight, inline = getattr(bound, _MARK)
            found.append(RewardFunction(bound, name, weight, inline))
    return tuple(found)
