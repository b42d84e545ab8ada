"""Worlds: small places with a state of their own, which tools look at and change.

Example:
    @register_world
    class Lamp(World):
        name = "lamp"

        def __init__(self, rng):
            self.lit = rng.random() < 0.5

        @tool(inline=True)
        def switch(self) -> bool:
            \"\"\"Switches the lamp; says whether it is lit now.\"\"\"
            self.lit = not self.lit
            return self.lit

        def facts(self):
            return {"lit": self.lit}
"""

from __future__ import annotations

import functools
import hashlib
import json
import random
from abc import ABC
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from agentenv.errors import AgentenvError, ConfigError, UnsupportedError, nearest
from agentenv.tasks import Json
from agentenv.tools import Tool, ToolSet, marked_tools

Facts = Mapping[str, Json]
"""What is the case in a world, one entry for each thing that can change; equal where two states are as good as equal.

Things are named by what they are, not by numbers they were given on the way: who cancels an event and enters it again
has changed nothing.
"""

Kind = TypeVar("Kind", bound="World")


class World(ABC):
    """One world of one episode. Its tools are its `@tool` methods.

    A subclass draws its whole state from `rng` in its constructor, quickly and without asking anybody outside, so that
    the same seed is the same world for ever.

    Attributes:
        name: by which an environment and a task ask for it.
        stateful: whether tools can change it. Nothing is compared of a world where they cannot.
    """

    name: ClassVar[str]
    stateful: ClassVar[bool] = True

    def __init__(self, rng: random.Random) -> None:
        """Draws the state. What is left to chance afterwards has to be part of the snapshot."""

    async def open(self) -> None:
        """Prepares what is slow or shared, before the first call of a tool."""

    def facts(self) -> Facts:
        """The state, in the form in which two states are compared."""
        return {}

    def snapshot(self) -> Any:
        """A value from which `restore` brings the state back, here or in another world of this kind."""
        raise UnsupportedError(f"the world {self.name!r} cannot be snapshotted; override snapshot() and restore()")

    def restore(self, snapshot: Any) -> None:
        raise UnsupportedError(f"the world {self.name!r} cannot be restored; override snapshot() and restore()")

    async def close(self) -> None:
        """Frees what the world holds. Twice is fine."""

    def tools(self) -> tuple[Tool, ...]:
        """What it offers."""
        return marked_tools(self)


_KINDS: dict[str, type[World]] = {}


def register_world(kind: type[Kind]) -> type[Kind]:
    """Makes a kind of world known by its name. A class decorator; twice is fine.

    Raises:
        ConfigError: another class has this name already.
    """
    known = _KINDS.setdefault(kind.name, kind)
    if (known.__module__, known.__qualname__) != (kind.__module__, kind.__qualname__):
        raise ConfigError(f"there is a world {kind.name!r} already: {known.__module__}.{known.__qualname__}")
    _KINDS[kind.name] = kind
    return kind


def world_kind(name: str) -> type[World]:
    """The class of a world.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in _KINDS:
        hint = nearest(name, _KINDS) or f" There are {', '.join(sorted(_KINDS)) or 'none'}."
        raise ConfigError(f"there is no world {name!r}.{hint} Import the module that registers it.")
    return _KINDS[name]


def world_names() -> tuple[str, ...]:
    """Every world that is known, by name."""
    return tuple(sorted(_KINDS))


class Worlds:
    """The worlds of one episode, side by side, with the tools of all of them. Each is made when it is first needed.

    Args:
        names: of the worlds, in the order in which their tools are offered.
        seed: each is drawn from a generator of its own that depends on this and its name.
        options: what the constructors of some of them are given beside their generator.

    Raises:
        ConfigError: there is no such world.
    """

    def __init__(self, names: Sequence[str], seed: int, options: Mapping[str, Mapping[str, Any]]) -> None:
        self._kinds = {name: world_kind(name) for name in names}
        self._seed = seed
        self._options = options
        self._made: dict[str, World] = {}

    def __iter__(self) -> Iterator[World]:
        return map(self._world, self._kinds)

    def _world(self, name: str) -> World:
        if name not in self._made:
            options = self._options.get(name, {})
            try:
                self._made[name] = self._kinds[name](random.Random(f"{name}/{self._seed}"), **options)
            except TypeError as error:
                raise ConfigError(f"the world {name!r} cannot be made with {dict(options)}: {error}") from error
        return self._made[name]

    def of(self, kind: type[Kind]) -> Kind:
        """The world of a kind.

        Raises:
            AgentenvError: there is none among these.
        """
        world = self._world(kind.name) if kind.name in self._kinds else None
        if not isinstance(world, kind):
            raise AgentenvError(f"there is no world {kind.name!r} here; there are {', '.join(self._kinds)}")
        return world

    @functools.cached_property
    def tools(self) -> ToolSet:
        """The tools of all worlds."""
        return ToolSet([found for world in self for found in world.tools()])

    @functools.cached_property
    def changing(self) -> frozenset[str]:
        """The names of the tools of worlds that can change."""
        return frozenset(found.spec.name for world in self if world.stateful for found in world.tools())

    def facts(self) -> dict[str, Json]:
        """What is the case in all of them; each name begins with its world's."""
        return {f"{world.name}: {name}": value for world in self for name, value in world.facts().items()}

    def snapshot(self) -> tuple[Any, ...]:
        """See `World.snapshot`."""
        return tuple(world.snapshot() for world in self)

    def restore(self, snapshot: tuple[Any, ...]) -> None:
        for world, state in zip(self, snapshot, strict=True):
            world.restore(state)

    async def open(self) -> None:
        for world in self:
            await world.open()

    async def close(self) -> None:
        for world in self._made.values():
            await world.close()


def digest(facts: Facts) -> str:
    """16 hexadecimal digits that are the same for equal facts."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
