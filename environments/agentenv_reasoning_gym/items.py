"""The problems of one configured dataset, rebuilt from their number whenever they are needed.

An entry may hold fractions, expressions or tuples that JSON cannot carry, so a task carries the item's *number* and
the entry is generated again from it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import random
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agentenv.errors import ConfigError, VerifierError, nearest
from agentenv_reasoning_gym.guard import admitted

ITEMS = 1_000_000
"""How many items a dataset is asked to hold. Most make item `i` from `seed + i`, so the number costs nothing."""

ITEMS_OF = {"acre": 2_000, "word_ladder": 20_000}
"""Datasets that prepare all items in advance, or refuse more."""

USES_GLOBAL_RNG = frozenset({"list_functions", "pool_matrix"})
"""Datasets whose generator draws from, or seeds, the process's global generators (a test keeps this list true)."""

_EXAMPLES = ("example_answer", "example_correct_answer", "possible_answer")
"""Where datasets with many right answers, whose `answer` is None, keep one of them in the metadata."""

_GENERATING = threading.RLock()


@dataclass(frozen=True, slots=True)
class Item:
    """One problem. `example` is an answer that must score full marks, `None` where the dataset names none."""

    number: int
    question: str
    example: str | None
    entry: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Score:
    """A verifier's word on an answer, or 0 where the answer was `refused`: not shown to a verifier that runs it."""

    value: Any
    refused: bool = False


class Items:
    """A dataset by name and configuration.

    Args:
        dataset: a name reasoning-gym registers.
        config: fields of the dataset's configuration class, as JSON values.

    Raises:
        ConfigError: an unknown dataset or field (named with the nearest known one), or values the dataset refuses.
    """

    def __init__(self, dataset: str, config: Mapping[str, Any]) -> None:
        from reasoning_gym.factory import DATASETS

        if dataset not in DATASETS:
            raise ConfigError(f"reasoning-gym has no dataset {dataset!r}.{nearest(dataset, DATASETS)}")
        build, configuration = DATASETS[dataset]
        known = [field.name for field in dataclasses.fields(configuration)]
        for name in config:
            if name not in known:
                raise ConfigError(
                    f"{dataset} has no option {name!r}.{nearest(name, known)} Options: {', '.join(known)}"
                )
        values = {"seed": 0, "size": ITEMS_OF.get(dataset, ITEMS), **config}
        if dataset == "composite":
            values["datasets"] = _members(values.get("datasets", []))
        try:
            self._dataset = build(configuration(**values))  # which also validates the configuration, where it can be
        except (AssertionError, TypeError, ValueError) as error:
            raise ConfigError(f"{dataset} refuses {dict(config)}: {error}") from error
        self.name = dataset
        self.size = int(values["size"])
        self._item = functools.lru_cache(maxsize=256)(self._generate)

    def item(self, number: int) -> Item:
        """The problem of that number, 0 ≤ number < size; always the same one. Some take a second to invent."""
        return self._item(number)

    def score(self, entry: Mapping[str, Any], answer: str | None) -> Score:
        """What the dataset's own verifier says of an answer, as it says it; 0 for one that it would run as a program.

        The members of `composite` are guarded under their own names.
        """
        dataset = (
            (entry.get("metadata") or {}).get("source_dataset", self.name) if self.name == "composite" else self.name
        )
        harmless = admitted(dataset, answer)
        if harmless is None and answer is not None:
            return Score(0.0, refused=True)
        return Score(self._dataset.score_answer(harmless, entry))

    def _generate(self, number: int) -> Item:
        with _GENERATING, _contained(number) if self.name in USES_GLOBAL_RNG else contextlib.nullcontext():
            entry = self._dataset[number]
        return Item(number, entry["question"], _example(entry), entry)


@functools.lru_cache(maxsize=8)
def _cached(dataset: str, config_json: str) -> Items:
    return Items(dataset, json.loads(config_json))


def items_of(dataset: str, config: Mapping[str, Any]) -> Items:
    """The dataset, built once per process and configuration: some read word lists of megabytes."""
    return _cached(dataset, json.dumps(dict(config), sort_keys=True))


def score_entry(dataset: str, config_json: str, entry: Mapping[str, Any], answer: str | None) -> Score:
    """`Items.score` for a process of its own, whose dataset is built on its first call.

    Raises:
        VerifierError: the dataset's verifier raised. Its own exceptions need not survive the way back, so it is named.
    """
    items = _cached(dataset, config_json)
    try:
        return items.score(entry, answer)
    except Exception as error:
        raise VerifierError(f"{dataset}.score_answer raised {type(error).__name__}: {error}") from None


def _members(datasets: object) -> list[Any]:
    from reasoning_gym.composite import DatasetSpec

    if not isinstance(datasets, list) or not all(isinstance(member, Mapping) for member in datasets):
        raise ConfigError('composite: datasets must be a list such as [{"name": "gcd", "weight": 1.0, "config": {}}]')
    return [DatasetSpec(**{"weight": 1.0, "config": {}, **member}) for member in datasets]


def _example(entry: Mapping[str, Any]) -> str | None:
    metadata = entry.get("metadata") or {}
    for found in (entry["answer"], *(metadata.get(name) for name in _EXAMPLES)):
        if found is not None:
            return found if isinstance(found, str) else json.dumps(found, default=str)
    return None


@contextlib.contextmanager
def _contained(seed: int) -> Iterator[None]:
    """Runs the block on global generators seeded with `seed`, and gives them back as they were."""
    import numpy

    ours, numpys = random.getstate(), numpy.random.get_state()
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    try:
        yield
    finally:
        random.setstate(ours)
        numpy.random.set_state(numpys)
