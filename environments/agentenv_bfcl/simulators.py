"""The simulated worlds of one episode: made anew for each, called by name, and compared by what they hold.

BFCL keeps its simulators in a registry of the process and passes objects of its modules around in them. Here each
episode has its own: they are unpickled from what a scenario begins with, so nothing is shared, whatever they change.
"""

from __future__ import annotations

import contextlib
import decimal
import functools
import importlib
import json
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from agentenv.tools import ToolError
from agentenv_bfcl.bounds import check_bounds
from agentenv_bfcl.source import Simulator, simulator_class

State = Mapping[Simulator, Mapping[str, Any]]
"""What worlds hold: the public attributes of each simulator."""

Function = Callable[..., str]
"""A simulator's function. Raises `ToolError` where it raises."""


class Worlds:
    """The simulators of an episode."""

    def __init__(self, simulators: Mapping[Simulator, Any]) -> None:
        self._simulators = simulators

    @classmethod
    def thaw(cls, frozen: bytes) -> Worlds:
        """Worlds of their own, in the state that `freeze` has kept."""
        return cls(pickle.loads(frozen))

    def freeze(self) -> bytes:
        """What `thaw` makes these worlds of again."""
        return _freeze(self._simulators)

    def function(self, simulator: Simulator, name: str) -> Function:
        """A function of a simulator, which answers with the text that BFCL shows a model."""
        world = self._simulators[simulator]
        answer = _answer_exactly if simulator is Simulator.MATH else _answer
        return functools.partial(answer, world, name, getattr(world, name))

    @property
    def state(self) -> State:
        """What they hold now. Not a copy."""
        return {simulator: _public(world) for simulator, world in self._simulators.items()}

    def differ(self, state: State) -> bool:
        """Whether any simulator holds something else than this."""
        for simulator, expected in state.items():
            held = vars(self._simulators[simulator])
            for name, value in expected.items():
                if name not in held or held[name] != value:
                    return True
        return False


def initial_worlds(config: Mapping[str, Any], simulators: Sequence[Simulator], *, long_context: bool) -> bytes:
    """The worlds that a task describes, frozen: what they have taken from BFCL's modules has become their own.

    Args:
        config: the initial state of each simulator, by its name.
        simulators: which there are.
        long_context: whether they are filled up with things that nobody asks for.

    Raises:
        MissingDataError: BFCL's simulators, or what they need, are not installed.
    """
    own = pickle.loads(_freeze(config))  # they go on changing what they are given
    made = {}
    for simulator in simulators:
        made[simulator] = simulator_class(simulator)()
        if simulator is not Simulator.MATH:  # it has no state
            made[simulator]._load_scenario(own.get(simulator.value, {}), long_context=long_context)
    return _freeze(made)


def _freeze(value: object) -> bytes:
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def _public(world: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(world).items() if not name.startswith("_")}


def _answer(world: Any, name: str, method: Callable[..., Any], /, *positional: Any, **named: Any) -> str:
    check_bounds(world, name, positional, named)
    try:
        result = method(*positional, **named)
        if isinstance(result, str):
            return result
        return _json_or_text(result) if isinstance(result, dict) else str(result)
    except Exception as error:
        raise ToolError(f"Error during execution: {error}") from error


def _json_or_text(result: dict[Any, Any]) -> str:
    try:
        return json.dumps(result)
    except (TypeError, ValueError):  # numbers of any precision are no JSON
        return str(result)


def _answer_exactly(world: Any, name: str, method: Callable[..., Any], /, *positional: Any, **named: Any) -> str:
    with _own_precision():
        return _answer(world, name, method, *positional, **named)


@contextlib.contextmanager
def _own_precision() -> Iterator[None]:
    """Some functions set the process's precision, which others rely on."""
    mpmath = importlib.import_module("mpmath")
    before = mpmath.mp.dps
    try:
        with decimal.localcontext():
            yield
    finally:
        mpmath.mp.dps = before
