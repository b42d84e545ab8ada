from __future__ import annotations

import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentenv.errors import AgentenvError, VerifierError
from agentenv.rewards import Component, Reward, as_reward, reward, reward_functions

FINITE = st.floats(-1e6, 1e6)


@given(st.lists(st.builds(Component, st.text(), FINITE, FINITE), max_size=5))
def test_the_total_is_the_weighted_sum_of_the_parts(components: list[Component]) -> None:
    total = Reward.of(*components)
    assert math.isclose(total, math.fsum(part.value * part.weight for part in components), abs_tol=1e-9)
    assert total.components == tuple(components)
    copy = pickle.loads(pickle.dumps(total))
    assert copy == total
    assert copy.components == total.components


def test_a_worked_example() -> None:
    """1.0 × 1 + 0.5 × 0.2 = 1.1"""
    assert Reward.of(Component("correct", 1.0), Component("brevity", 0.5, weight=0.2)) == pytest.approx(1.1)


def test_a_plain_number_becomes_one_component_and_none_stays_none() -> None:
    assert as_reward(True, "env") == 1.0
    assert as_reward(2, "env").components == (Component("reward", 2.0),)  # type: ignore[union-attr]
    assert as_reward(None, "env") is None


@pytest.mark.parametrize("value", ["1.0", b"1", math.nan, math.inf, -math.inf, [1.0], {}, object(), 1j])
def test_what_is_not_a_finite_number_is_the_verifiers_failure(value: object) -> None:
    with pytest.raises(VerifierError, match="my-env"):
        as_reward(value, "my-env")


class Marked:
    @reward(weight=2.0)
    def correct(self, completion: str, answer: str) -> float:
        return float(completion == answer)

    @reward(name="short", weight=0.5, inline=True)
    async def brevity(self, completion: str, limit: int = 3) -> float:
        return float(len(completion) <= limit)

    @reward
    def unscored(self) -> None:
        return None

    @reward
    def broken(self, completion: str) -> float:
        raise KeyError("oops")

    @reward
    def greedy(self, wishes: int) -> float:
        return float(wishes)


OFFERED = {"completion": "4", "answer": "4", "task": None}


def function(name: str) -> object:
    return {found.name: found for found in reward_functions(Marked())}[name]


def test_components_are_found_in_the_order_they_are_written() -> None:
    found = reward_functions(Marked())
    assert [(part.name, part.weight) for part in found] == [
        ("correct", 2.0),
        ("short", 0.5),
        ("unscored", 1.0),
        ("broken", 1.0),
        ("greedy", 1.0),
    ]


async def test_parameters_are_injected_by_name_and_defaults_are_kept() -> None:
    assert await function("correct").score(OFFERED, "env") == Component("correct", 1.0, 2.0)  # type: ignore[attr-defined]
    assert await function("short").score(OFFERED, "env") == Component("short", 1.0, 0.5)  # type: ignore[attr-defined]
    assert await function("unscored").score(OFFERED, "env") is None  # type: ignore[attr-defined]


async def test_what_a_method_calls_its_owner_is_no_parameter() -> None:
    class Owner:
        @reward(inline=True)
        def short(owner, completion: str) -> float:
            return float(len(completion) < 3)

    (short,) = reward_functions(Owner())
    assert await short.score(OFFERED, "env") == Component("short", 1.0)


async def test_a_verifier_that_raises_or_asks_for_the_unknown_is_named() -> None:
    with pytest.raises(VerifierError, match=r"env.broken raised KeyError"):
        await function("broken").score(OFFERED, "env")  # type: ignore[attr-defined]
    with pytest.raises(VerifierError, match=r"env.greedy asks for wishes; offered are answer, completion, task"):
        await function("greedy").score(OFFERED, "env")  # type: ignore[attr-defined]


def test_an_infinite_weight_is_refused() -> None:
    with pytest.raises(AgentenvError, match="finite"):
        reward(weight=math.inf)
