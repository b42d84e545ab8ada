"""Which datasets the installed reasoning-gym registers, read from its source files.

Importing reasoning_gym takes more than a second; `agentenv list` must not wait for it. Every dataset registers itself
with a literal name at module level, so the names can be read without running anything. A test compares them with the
real registry.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pydantic

from agentenv.errors import MissingExtraError
from agentenv.registry import EnvSpec

_CALL = re.compile(r"^register_dataset\(\s*(?:DATASET_NAME|(?P<literal>\"\w+\"))", re.MULTILINE)
_NAME = re.compile(r"^DATASET_NAME\s*=\s*\"(?P<name>\w+)\"", re.MULTILINE)

COMPOSITE: dict[str, pydantic.JsonValue] = {
    "datasets": [
        {"name": "chain_sum", "weight": 1.0, "config": {}},
        {"name": "leg_counting", "weight": 1.0, "config": {}},
    ]
}
"""`composite` mixes other datasets and cannot be built without naming some; these two keep it playable as listed."""


@functools.lru_cache(maxsize=1)
def dataset_names() -> tuple[str, ...]:
    """The registered names, sorted.

    Raises:
        MissingExtraError: reasoning-gym is not installed.
    """
    return tuple(sorted(name for path in _package().rglob("*.py") for name in _names_in(path)))


def specs() -> list[EnvSpec]:
    """One specification per dataset, tagged with the package's version: it is part of what is played."""
    names = dataset_names()
    version = importlib.metadata.version("reasoning-gym")
    return [_spec(name, version) for name in names]


def _spec(name: str, version: str) -> EnvSpec:
    options: dict[str, pydantic.JsonValue] = COMPOSITE if name == "composite" else {}
    return EnvSpec(
        id=f"reasoning_gym/{name}-v0",
        entry_point="agentenv_reasoning_gym.env:ReasoningGymEnv",
        kwargs={"dataset": name, **options},
        description=f"reasoning-gym: {name.replace('_', ' ')}",
        max_turns=1,
        tags=("reasoning", "single-turn", "procedural", f"reasoning-gym=={version}"),
        extra="reasoning-gym",
    )


def _package() -> Path:
    found = importlib.util.find_spec("reasoning_gym")
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError("reasoning_gym", "reasoning-gym")
    return Path(found.submodule_search_locations[0])


def _names_in(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    if "register_dataset" not in text:
        return
    for call in _CALL.finditer(text):
        if call["literal"]:
            yield call["literal"].strip('"')
        elif name := _NAME.search(text):
            yield name["name"]
