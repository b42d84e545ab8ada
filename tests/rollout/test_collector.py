"""The garbage collector's threshold is borrowed, not taken."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from agentenv.rollout.collector import SHORT_LOOKS, rare_collections


@pytest.fixture(autouse=True)
def _thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_the_threshold_is_raised_until_the_last_user_leaves() -> None:
    gc.set_threshold(700, 10, 10)
    first, second = rare_collections(), rare_collections()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert gc.get_threshold() == (50_000, 10, 10)
    second.__exit__(None, None, None)
    assert gc.get_threshold() == (700, 10, 10)


@pytest.mark.parametrize("chosen", [(0, 10, 10), (50_000, 5, 5)])
def test_what_the_program_chose_itself_is_left_alone(chosen: tuple[int, int, int]) -> None:
    gc.set_threshold(*chosen)
    with rare_collections():
        assert gc.get_threshold() == chosen
    assert gc.get_threshold() == chosen


def test_a_gateway_looks_oftener_and_shortly() -> None:
    gc.set_threshold(700, 10, 10)
    with rare_collections(SHORT_LOOKS):
        assert gc.get_threshold() == (2_000, 250, 10)
