"""Tables of a world: records that never change, shared by all worlds, under what one world has put in their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, Generic, Self, TypeVar

import pydantic

from agentenv.errors import UnsupportedError


class Record(pydantic.BaseModel):
    """A row of a table: frozen, so that worlds can share it. Attributes that are `None` are not written out."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    @pydantic.model_serializer(mode="wrap")
    def _without_none(self, write: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in write(self).items() if value is not None}

    def but(self, **changes: Any) -> Self:
        """The same record with other values, which are not validated again."""
        return self.model_copy(update=changes)


R = TypeVar("R", bound=Record)


class Table(MutableMapping[str, R], Generic[R]):
    """Records by id. Copying is free: a world keeps nothing but the records that it has replaced.

    Args:
        kind: the records' class.
        shared: the records to begin with. They are only read.
    """

    def __init__(self, kind: type[R], shared: Mapping[str, R]) -> None:
        self.kind = kind
        self._shared = shared
        self._own: dict[str, R] = {}

    def __getitem__(self, id: str) -> R:
        found = self._own.get(id)
        return self._shared[id] if found is None else found

    def __setitem__(self, id: str, record: R) -> None:
        self._own[id] = record

    def __delitem__(self, id: str) -> None:
        raise UnsupportedError("no tool removes a record")

    def __iter__(self) -> Iterator[str]:
        yield from self._shared
        yield from (id for id in self._own if id not in self._shared)

    def __len__(self) -> int:
        return len(self._shared) + sum(id not in self._shared for id in self._own)

    def __contains__(self, id: object) -> bool:
        return id in self._own or id in self._shared

    @property
    def differences(self) -> dict[str, R]:
        """The records that are not those it began with, by id in order."""
        return {id: self._own[id] for id in sorted(self._own) if self._shared.get(id) != self._own[id]}

    def own(self) -> dict[str, R]:
        """A copy of what this world has put in place, for `take`."""
        return dict(self._own)

    def take(self, own: Mapping[str, R]) -> None:
        """Goes back to what `own` gave."""
        self._own = dict(own)
