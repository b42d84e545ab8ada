"""Actions of a Gymnasium space as text: how they are explained to a policy, and how its reply is read."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from gymnasium import Space, spaces

from agentenv.errors import ConfigError

_MARKED = re.compile(r"\baction\s{0,3}[:=]\s{0,3}([^\n]{1,2000})", re.IGNORECASE)
_JSON_SPACES = (spaces.MultiDiscrete, spaces.MultiBinary, spaces.Box)


class InvalidActionError(ValueError):
    """A reply that names no action; the message tells the policy what one looks like."""


class ActionText:
    """Reads and explains the actions of one space.

    A discrete action is its name or number, other actions are JSON: numbers, or lists of numbers in the space's shape.
    What follows the last "action:" on its line is read, or the whole reply where there is none.

    Args:
        space: `Discrete`, `MultiDiscrete`, `MultiBinary` or `Box`.
        names: of the discrete actions in their order; their numbers by default.
    """

    def __init__(self, space: Space[Any], names: Sequence[str] = ()) -> None:
        self._space = space
        self._names: dict[str, int] = {}
        if isinstance(space, spaces.Discrete):
            first, count = int(space.start), int(space.n)
            if names and len(names) != count:
                raise ConfigError(f"{len(names)} action names for {count} actions")
            self._names = {name.lower(): first + index for index, name in enumerate(names)}
            self._numbers = {str(number): number for number in range(first, first + count)}
        elif not isinstance(space, _JSON_SPACES):
            kinds = ", ".join(kind.__name__ for kind in (spaces.Discrete, *_JSON_SPACES))
            raise ConfigError(f"actions of {space} cannot be given as text; these kinds can: {kinds}")

    @property
    def legend(self) -> str:
        """What a policy must know to act. It holds no action itself: a reply that repeats it must not be one."""
        if self._names:
            listed = ", ".join(f"{number} = {name}" for name, number in self._names.items())
            return f'Actions: {listed}.\nReply in the form "action: NAME".'
        if isinstance(self._space, spaces.Discrete):
            first, last = int(self._space.start), int(self._space.start + self._space.n - 1)
            return f'Actions: the numbers {first} to {last}.\nReply in the form "action: NUMBER".'
        return f'Actions: JSON (a number, or lists of numbers) in {self._space}.\nReply in the form "action: JSON".'

    def read(self, reply: str) -> Any:
        """The action a reply names.

        Raises:
            InvalidActionError: none, or one the space does not have.
        """
        marked = _MARKED.findall(reply)
        said = (marked[-1] if marked else reply[:2000]).strip().strip("*`.").strip()
        if isinstance(self._space, spaces.Discrete):
            found = self._names.get(said.lower(), self._numbers.get(said))
            if found is None:
                raise InvalidActionError(f"That names no action. {self.legend}")
            return found
        try:
            action = self._space.from_jsonable([json.loads(said)])[0]
            valid = self._space.contains(action)
        except (ValueError, TypeError, RecursionError, OverflowError):
            valid = False
        if not valid:
            raise InvalidActionError(f"That is no action of this space. {self.legend}")
        return action

    def write(self, action: Any) -> Any:
        """An action as a JSON value: its name where it has one."""
        if isinstance(self._space, spaces.Discrete):
            names = {number: name for name, number in self._names.items()}
            return names.get(int(action), int(action))
        return self._space.to_jsonable([action])[0]
