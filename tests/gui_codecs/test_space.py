"""Units of places: pixels, thousandths, and the pixels of another picture."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentenv.errors import ConfigError
from agentenv_gui.actions import Point
from agentenv_gui.codecs.space import Space
from agentenv_gui.seen import Size

sizes = st.builds(Size, st.integers(1, 4_000), st.integers(1, 4_000))
spaces = st.builds(Space, sizes, sizes)


def test_a_space_is_declared_by_name() -> None:
    surface = Size(1280, 800)
    assert Space.declared("pixels", surface).units == surface
    assert Space.declared("0-1000", surface).to_surface(500, 1000) == Point(640, 800)
    assert Space.declared("640x400", surface).to_surface(10, 10) == Point(20, 20)


@pytest.mark.parametrize("name", ["pixel", "", "640x", "0x400", "1280 x 800", "9999999x1"])
def test_a_space_that_is_none_is_the_users_mistake(name: str) -> None:
    with pytest.raises(ConfigError):
        Space.declared(name, Size(1280, 800))


def test_a_surface_without_extent_has_no_space() -> None:
    with pytest.raises(ConfigError, match="without extent"):
        Space.declared("pixels", Size(0, 800))


@given(spaces, st.floats(0, 1), st.floats(0, 1))
def test_a_place_comes_back_within_half_a_unit_of_the_coarser_space(space: Space, x: float, y: float) -> None:
    there = Point(x * space.surface.width, y * space.surface.height)
    back = space.to_surface(*space.from_surface(there.x, there.y))
    unit_x = max(1.0, space.surface.width / space.units.width)
    unit_y = max(1.0, space.surface.height / space.units.height)
    assert abs(back.x - there.x) <= unit_x / 2 + 1e-6
    assert abs(back.y - there.y) <= unit_y / 2 + 1e-6


@given(spaces, st.integers(-5_000, 5_000), st.integers(-5_000, 5_000))
def test_what_is_said_in_units_comes_back_as_it_was(space: Space, x: int, y: int) -> None:
    there = space.to_surface(x, y)
    assert space.from_surface(there.x, there.y) == (x, y)


@given(spaces, st.integers(1, 1_000))
def test_a_place_outside_stays_outside(space: Space, far: int) -> None:
    beyond = space.to_surface(space.units.width + far, -far)
    assert beyond.x > space.surface.width
    assert beyond.y < 0


@pytest.mark.parametrize(("name", "told"), [("pixels", "1280x800"), ("0-1000", "0 to 1000"), ("640x400", "640x400")])
def test_a_policy_is_told_the_units(name: str, told: str) -> None:
    assert told in str(Space.declared(name, Size(1280, 800)))
