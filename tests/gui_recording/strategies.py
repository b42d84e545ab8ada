"""Any action of the vocabulary, for properties."""

from __future__ import annotations

from typing import get_args

from hypothesis import strategies as st

from agentenv_gui.actions import Action, Drag, Element, Point

FINITE = st.floats(-1e6, 1e6)
TARGETS = st.one_of(st.builds(Point, FINITE, FINITE), st.builds(Element, st.integers(0, 10_000)))
TEXTS = st.text(max_size=20)

_FIELDS: dict[str, st.SearchStrategy[object]] = {
    "float": FINITE,
    "int": st.integers(1, 3),
    "str": TEXTS,
    "bool": st.booleans(),
    "tuple[str, ...]": st.lists(TEXTS, max_size=3).map(tuple),
    "tuple[Target, ...]": st.lists(TARGETS, min_size=2, max_size=4).map(tuple),
    "Target": TARGETS,
    "Target | None": st.none() | TARGETS,
    "Element": st.builds(Element, st.integers(0, 10_000)),
}


def _of(kind: type[Action]) -> st.SearchStrategy[Action]:
    given = {name: _FIELDS[text] for name, text in kind.__annotations__.items() if text in _FIELDS}
    return st.builds(kind, **given)


ACTIONS: st.SearchStrategy[Action] = st.one_of([_of(kind) for kind in get_args(Action)])
DRAGS = _of(Drag)
