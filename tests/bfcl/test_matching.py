"""BFCL's rules for single turns: by hand, and side by side with BFCL's own checker."""

from __future__ import annotations

import copy
import importlib
import random
from collections.abc import Sequence
from typing import Any

import pytest

from agentenv_bfcl.matching import Allowed, Call, mismatch
from agentenv_bfcl.single import Category, SingleTurn, judge, right_calls
from tests.bfcl.installed import require_bfcl, their_ast_checker

PARAMETERS: dict[str, Any] = {
    "city": {"type": "string"},
    "days": {"type": "integer"},
    "limit": {"type": "float"},
    "exact": {"type": "boolean"},
    "tags": {"type": "array", "items": {"type": "string"}},
    "grid": {"type": "array", "items": {"type": "array"}},
    "filter": {"type": "dict", "properties": {}},
    "legs": {"type": "array", "items": {"type": "dict"}},
    "place": {"type": "tuple", "items": {"type": "float"}},
    "what": {"type": "any"},
}


def right(values: Sequence[Any], given: Any, parameter: str) -> bool:
    """Whether a value is accepted where these are allowed."""
    function = {"name": "f.g", "parameters": {"properties": PARAMETERS, "required": []}}
    return mismatch([function], [Call("f_g", {parameter: given})], [{"f.g": {parameter: values}}]) is None


@pytest.mark.parametrize("given", ["New York, NY", "new york ny", "NEW-YORK/NY", "New_York.NY", "*new^york,ny"])
def test_case_spaces_and_some_signs_do_not_count_in_texts(given: str) -> None:
    assert right(["New York, NY"], given, "city")


@pytest.mark.parametrize("given", ["New York; NY", "New York", "", 5, None, ["New York, NY"]])
def test_other_texts_and_other_types_are_wrong(given: object) -> None:
    assert not right(["New York, NY"], given, "city")


def test_single_and_double_quotes_are_the_same() -> None:
    assert right(["say 'hi'"], 'say "hi"', "city")


def test_a_whole_number_will_do_for_a_float_and_nothing_else_is_converted() -> None:
    assert right([5.0], 5, "limit")
    assert right([5.0], 5.0, "limit")
    assert not right([5], 5.0, "days")
    assert not right([5], "5", "days")
    assert not right([1], True, "days")
    assert not right([True], 1, "exact")


def test_lists_are_compared_in_order_with_texts_as_texts() -> None:
    assert right([["New York", "Rome"]], ["new york", "ROME"], "tags")
    assert not right([["New York", "Rome"]], ["Rome", "New York"], "tags")
    assert not right([["New York", "Rome"]], ["New York"], "tags")
    assert not right([["New York"]], "New York", "tags")
    assert right([[["a"], ["b"]]], [["a"], ["b"]], "grid")


def test_a_tuple_is_a_list_whose_items_have_the_type_of_the_allowed_ones() -> None:
    assert right([[1.5, 2.5]], [1.5, 2.5], "place")
    assert right([[1, 2]], [1, 2], "place")
    assert not right([[1.5, 2.5]], [1, 2], "place")


def test_an_object_has_an_allowed_value_for_each_key_and_none_too_many() -> None:
    allowed = [{"size": ["Large", "L"], "color": ["red", ""]}]
    assert right(allowed, {"size": "l"}, "filter")
    assert right(allowed, {"size": "large", "color": "Red"}, "filter")
    assert not right(allowed, {"color": "red"}, "filter")
    assert not right(allowed, {"size": "L", "shape": "round"}, "filter")
    assert not right(allowed, {"size": "S"}, "filter")


def test_a_list_of_objects_is_compared_one_by_one() -> None:
    allowed = [[{"to": ["Rome"]}, {"to": ["Oslo", "OSL"]}]]
    assert right(allowed, [{"to": "rome"}, {"to": "osl"}], "legs")
    assert not right(allowed, [{"to": "osl"}, {"to": "rome"}], "legs")
    assert not right(allowed, [{"to": "rome"}], "legs")


def test_a_value_of_another_type_than_described_is_compared_as_it_is() -> None:
    assert right(["my_days"], "my_days", "days")
    assert not right(["my_days"], "My_Days", "days")
    assert right([5], 5, "what")


FUNCTION = {"name": "book", "parameters": {"properties": PARAMETERS, "required": ["city"]}}
DUE: Allowed = {"book": {"city": ["Rome"], "days": [2, ""], "exact": [True]}}


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("book", {"city": "Rome", "exact": True}, None),
        ("book", {"city": "Rome", "exact": True, "days": 2}, None),
        ("cook", {"city": "Rome", "exact": True}, "cook is called"),
        ("book", {"exact": True}, "city is missing"),
        ("book", {"city": "Rome"}, "exact is left out"),
        ("book", {"city": "Rome", "exact": True, "limit": 1.0}, "limit is not asked for"),
        ("book", {"city": "Rome", "exact": True, "new": 1}, "new is not asked for"),
        ("book", {"city": "Rome", "exact": True, "days": 3}, "days is 3"),
    ],
)
def test_a_call_is_right_or_wrong_for_a_reason(name: str, arguments: dict[str, Any], reason: str | None) -> None:
    found = mismatch([FUNCTION], [Call(name, arguments)], [DUE])
    assert found is None if reason is None else found is not None and reason in found


def test_several_calls_may_come_in_any_order_but_each_only_once() -> None:
    rome, oslo = Call("book", {"city": "Rome", "exact": True}), Call("book", {"city": "Oslo"})
    due: list[Allowed] = [DUE, {"book": {"city": ["Oslo"]}}]
    assert mismatch([FUNCTION], [rome, oslo], due) is None
    assert mismatch([FUNCTION], [oslo, rome], due) is None
    assert mismatch([FUNCTION], [rome, rome], due) is not None
    assert mismatch([FUNCTION], [rome], due) == "1 calls where 2 are due"


class Mutations:
    """Answers that differ from right ones in one thing, drawn from a seed."""

    STRANGE: tuple[Any, ...] = ("", "x", 0, 1, 2.5, True, None, [], {}, ["a"], [1.0], {"a": 1}, [{"a": 1}], "5", 5)

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def of(self, calls: Sequence[Call]) -> list[Call]:
        found = list(copy.deepcopy(calls))
        place = self._rng.randrange(len(found))
        match self._rng.randrange(9):
            case 0:
                found.pop(place)
            case 1:
                found.append(found[0])
            case 2:
                self._rng.shuffle(found)
            case 3:
                found[place] = Call(found[place].name + "x", found[place].arguments)
            case _:
                found[place] = Call(found[place].name, self._arguments(dict(found[place].arguments)))
        return found

    def _arguments(self, arguments: dict[str, Any]) -> dict[str, Any]:
        name = self._rng.choice([*arguments, "extra"])
        if name == "extra" or self._rng.random() < 0.8:
            arguments[name] = self._value(arguments.get(name))
        else:
            del arguments[name]
        return arguments

    def _value(self, value: Any) -> Any:
        if self._rng.random() < 0.15:
            return self._rng.choice(self.STRANGE)
        if isinstance(value, str):
            return self._rng.choice([value.upper(), value + " ", value.replace(" ", "-"), value + "x", [value]])
        if isinstance(value, bool):
            return self._rng.choice([not value, int(value), str(value)])
        if isinstance(value, int | float):
            return self._rng.choice([value + 1, float(value), int(value), str(value), [value]])
        if isinstance(value, list) and value:
            place = self._rng.randrange(len(value))
            changed = [*value[:place], self._value(value[place]), *value[place + 1 :]]
            return self._rng.choice([value[::-1], value[1:], [*value, value[0]], changed])
        if isinstance(value, dict) and value:
            key = self._rng.choice(list(value))
            fewer = {name: kept for name, kept in value.items() if name != key}
            return self._rng.choice([fewer, {**value, "new": 1}, {**value, key: self._value(value[key])}])
        return self._rng.choice(self.STRANGE)


@pytest.mark.parametrize("category", [category for category in Category if category.asks_for is None])
def test_our_verdicts_are_those_of_bfcls_own_checker(category: Category, monkeypatch: pytest.MonkeyPatch) -> None:
    require_bfcl()
    checker = their_ast_checker(monkeypatch)
    python = importlib.import_module("bfcl_eval.constants.enums").Language.PYTHON
    mutations = Mutations(seed=7)
    verdicts = {True: 0, False: 0}
    for task in list(SingleTurn(category).tasks("test"))[::3]:
        oracle = right_calls(task)
        for calls in [oracle, *(mutations.of(oracle) for _ in range(5))]:
            made = [{call.name: copy.deepcopy(call.arguments)} for call in calls]
            functions, allowed = copy.deepcopy((task.data["functions"], task.answer))
            theirs = checker.ast_checker(functions, made, allowed, python, category.value, "model")["valid"]
            assert (judge(task, calls) is None) == theirs, (task.id, calls)
            verdicts[theirs] += 1
    assert min(verdicts.values()) >= 5, verdicts
