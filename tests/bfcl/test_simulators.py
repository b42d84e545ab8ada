"""The simulators of an episode are its own, and cannot keep the process busy."""

from __future__ import annotations

import decimal
import importlib
import json
import time
from typing import Any

import pytest

from agentenv.tools import ToolError
from agentenv_bfcl.simulators import Worlds, initial_worlds
from agentenv_bfcl.source import Simulator
from tests.bfcl.installed import require_bfcl

FILES = {
    "root": {
        "home": {
            "type": "directory",
            "contents": {
                "notes.txt": {"type": "file", "content": "one\ntwo"},
                "inner": {"type": "directory", "contents": {}},
            },
        }
    }
}


def worlds(*simulators: Simulator, long_context: bool = False, **config: Any) -> Worlds:
    require_bfcl()
    return Worlds.thaw(initial_worlds(config, simulators, long_context=long_context))


def answer(of: Worlds, simulator: Simulator, function: str, /, **arguments: Any) -> str:
    return of.function(simulator, function)(**arguments)


def files() -> Worlds:
    return worlds(Simulator.FILE_SYSTEM, GorillaFileSystem=FILES)


def test_answers_are_the_texts_that_bfcl_shows() -> None:
    mine = files()
    assert answer(mine, Simulator.FILE_SYSTEM, "cat", file_name="notes.txt") == '{"file_content": "one\\ntwo"}'
    assert answer(mine, Simulator.FILE_SYSTEM, "touch", file_name="new.txt") == "None"
    with pytest.raises(ToolError, match=r"^Error during execution: .*unexpected keyword argument 'name'"):
        answer(mine, Simulator.FILE_SYSTEM, "cat", name="notes.txt")


def test_what_one_changes_no_other_sees() -> None:
    mine, other = files(), files()
    answer(mine, Simulator.FILE_SYSTEM, "rm", file_name="notes.txt")
    assert mine.differ(other.state)
    assert not other.differ(files().state)
    assert "notes.txt" in answer(other, Simulator.FILE_SYSTEM, "ls")


def test_money_spent_from_cards_that_all_long_contexts_share_is_spent_by_nobody_else() -> None:
    before = worlds(Simulator.TRAVEL, long_context=True)
    mine = worlds(Simulator.TRAVEL, long_context=True)
    cards = mine.state[Simulator.TRAVEL]["credit_card_list"]
    for card in cards.values():
        card["balance"] = -1
    assert mine.differ(before.state)
    assert not worlds(Simulator.TRAVEL, long_context=True).differ(before.state)


def test_frozen_worlds_go_on_as_the_others_do_with_their_random_numbers() -> None:
    mine = worlds(Simulator.VEHICLE)
    copied = Worlds.thaw(mine.freeze())
    drawn = [answer(mine, Simulator.VEHICLE, "get_current_speed") for _ in range(3)]
    assert drawn == [answer(copied, Simulator.VEHICLE, "get_current_speed") for _ in range(3)]
    assert len(set(drawn)) == 3


def test_a_logarithm_to_two_digits_leaves_the_processs_precision_as_it_was() -> None:
    mine = worlds(Simulator.MATH)
    mpmath = importlib.import_module("mpmath")
    before = mpmath.mp.dps, decimal.getcontext().prec
    assert answer(mine, Simulator.MATH, "logarithm", value=20, base=10, precision=2) == "{'result': mpf('1.3027')}"
    answer(mine, Simulator.MATH, "square_root", number=2, precision=50)
    assert (mpmath.mp.dps, decimal.getcontext().prec) == before


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("power", {"base": 7, "exponent": 10**9}),
        ("power", {"base": 10**3000, "exponent": 2}),
        ("logarithm", {"value": 2, "base": 10, "precision": 10**9}),
        ("square_root", {"number": 2, "precision": 10**9}),
        ("round_number", {"number": 5, "decimal_places": -(10**9)}),
    ],
)
def test_a_calculation_without_end_is_refused(function: str, arguments: dict[str, int]) -> None:
    mine, began = worlds(Simulator.MATH), time.perf_counter()
    with pytest.raises(ToolError, match=r"digits|must lie between"):
        answer(mine, Simulator.MATH, function, **arguments)
    assert time.perf_counter() - began < 1.0


def test_calculations_of_everyday_are_not_refused() -> None:
    mine = worlds(Simulator.MATH)
    assert json.loads(answer(mine, Simulator.MATH, "power", base=2, exponent=100)) == {"result": 2**100}
    assert json.loads(answer(mine, Simulator.MATH, "power", base=2.5, exponent=2)) == {"result": 6.25}
    assert json.loads(answer(mine, Simulator.MATH, "round_number", number=2.345, decimal_places=1)) == {"result": 2.3}


def test_a_tree_that_copies_have_made_without_end_is_not_walked() -> None:
    # Each round puts the folder twice into a new one: after 40 rounds there are 2^40 paths in a handful of folders.
    mine = files()

    def shell(name: str, **arguments: Any) -> None:
        answer(mine, Simulator.FILE_SYSTEM, name, **arguments)

    for round in range(40):
        name = "inner" if round == 0 else f"d{round}"
        shell("mkdir", dir_name=f"d{round + 1}")
        shell("cp", source=name, destination=f"d{round + 1}")
        shell("mv", source=name, destination=f"again{round}")
        shell("mv", source=f"again{round}", destination=f"d{round + 1}")
    for function in ("find", "du"):
        began = time.perf_counter()
        with pytest.raises(ToolError, match="more than 100000 files"):
            shell(function)
        assert time.perf_counter() - began < 2.0
