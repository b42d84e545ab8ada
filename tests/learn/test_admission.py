"""Which groups may start, and which ones an update takes, worked by hand; and what must hold however they end."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")

from agentenv.learn.admission import Admission, Standing
from agentenv.learn.buffer import Buffer, Settled
from agentenv.learn.config import TrainConfig
from agentenv.learn.groups import Group


def admission(size: int = 4, staleness: int = 0, updates: int = 10, most_drawn: int | None = None) -> Admission:
    return Admission(size, staleness, updates, size if most_drawn is None else most_drawn)


def test_without_staleness_the_groups_of_the_next_update_may_begin_when_the_one_before_is_published() -> None:
    synchronous = admission()
    assert synchronous.capacity(Standing()) == 4
    assert synchronous.capacity(Standing(running=3)) == 1
    assert synchronous.capacity(Standing(waiting=4)) == 0
    assert synchronous.capacity(Standing(version=0, taken=1)) == 0
    assert synchronous.capacity(Standing(version=1, taken=1)) == 4


def test_with_staleness_so_many_updates_more_may_begin() -> None:
    # (2 + 3 + 1) · 4 − (accepted 3 · 4 + 2 waiting + 5 running)
    assert admission(staleness=2).capacity(Standing(version=3, taken=3, waiting=2, running=5)) == 24 - (14 + 5)
    # While the fourth update is being made, its groups count as accepted.
    assert admission(staleness=2).capacity(Standing(version=3, taken=4, waiting=0, running=5)) == 24 - (16 + 5)


def test_nothing_begins_that_no_update_would_take() -> None:
    assert admission(staleness=5, updates=2).capacity(Standing()) == 8
    assert admission(staleness=5, updates=2).capacity(Standing(version=1, taken=1, running=4)) == 0


def test_dropped_groups_are_drawn_anew_up_to_a_bound() -> None:
    drawing = admission(most_drawn=10)
    assert drawing.capacity(Standing(dropped=4)) == 4
    assert drawing.capacity(Standing(dropped=8)) == 2
    assert drawing.capacity(Standing(dropped=10)) == 0
    assert not drawing.enough(Standing(waiting=2, dropped=7, running=1))
    assert drawing.enough(Standing(waiting=2, dropped=8))


def test_the_configuration_says_how_many_may_be_drawn() -> None:
    settings = {"environment": "calculator-v0", "tasks_per_iteration": 3, "siblings": 2, "iterations": 7}
    plain = TrainConfig.model_validate(settings | {"staleness": 4})
    assert Admission.of(plain) == Admission(size=3, staleness=4, updates=7, most_drawn=3)
    drawing = TrainConfig.model_validate(settings | {"groups": {"dynamic_sampling": True, "most_draws": 2.5}})
    assert Admission.of(drawing).most_drawn == 7


def test_groups_have_the_tasks_of_the_iteration_they_would_be_in_without_staleness() -> None:
    assert [admission(size=3).iteration_of(number) for number in range(7)] == [1, 1, 1, 2, 2, 2, 3]


@given(
    size=st.integers(1, 4),
    staleness=st.integers(0, 3),
    updates=st.integers(1, 6),
    spare=st.integers(0, 5),
    refused=st.floats(0, 1),
    seed=st.integers(0, 2**16),
)
def test_every_run_comes_to_its_end_whatever_ends_when(
    size: int, staleness: int, updates: int, spare: int, refused: float, seed: int
) -> None:
    """As admission sees it: groups begin where there is room, one ends, an update takes some or is published."""
    rng = random.Random(seed)
    rules = Admission(size, staleness, updates, size + spare)
    version = taken = begun = dropped = 0
    running: list[int] = []
    waiting: list[int] = []
    settled = Settled()

    def standing() -> Standing:
        return Standing(version, taken, len(running), len(waiting), dropped)

    while version < updates:
        while rules.capacity(standing()) > 0:
            running.append(begun)
            begun += 1
        ready = taken == version and rules.enough(standing())
        moves = ["end"] * bool(running) + ["take"] * ready + ["publish"] * (taken > version)
        assert moves, "nobody can do anything any more"
        match rng.choice(moves):
            case "end":
                number = running.pop(rng.randrange(len(running)))
                if spare and rng.random() < refused:
                    dropped += 1
                    settled.add([number])
                else:
                    waiting = sorted([*waiting, number])
            case "take":
                assert len(waiting) + dropped <= size + spare + staleness * size
                settled.add(waiting[:size])
                del waiting[:size]
                taken, dropped = taken + 1, 0
            case "publish":
                version += 1
        assert len(waiting) + len(running) <= (staleness + 1) * size
    if not spare:
        assert (settled.below, settled.beyond, running, waiting) == (updates * size, set(), [], [])


def test_a_buffer_gives_the_oldest_groups_whatever_order_they_came_in() -> None:
    buffer = Buffer()
    for number in (5, 2, 9, 3):
        buffer.add(Group(number, ()))
    assert [group.number for group in buffer.take(3)] == [2, 3, 5]
    assert [group.number for group in buffer] == [9]
    assert len(buffer) == 1


@given(st.permutations(range(12)), st.integers(0, 12))
def test_settled_numbers_are_remembered_in_whatever_order_they_come(numbers: list[int], count: int) -> None:
    settled = Settled()
    settled.add(numbers[:count])
    again = Settled(settled.below, settled.beyond)
    for number in range(12):
        assert (number in settled) == (number in again) == (number in numbers[:count])
    assert settled.below not in settled


def test_a_group_is_not_settled_twice() -> None:
    settled = Settled(below=3, beyond=[5])
    for number in (2, 5):
        with pytest.raises(ValueError, match=f"group {number} was in an update before"):
            settled.add([number])
