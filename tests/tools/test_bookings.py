"""The world of trains: seats and money are neither made nor lost."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agentenv_tools.worlds import BookingsWorld
from agentenv_tools.worlds.bookings import Train
from agentenv_tools.worlds.places import WEEK
from tests.tools.worlds import called, made, outcome_of, refusal

DAY = "2031-03-03"


def small() -> BookingsWorld:
    """Two trains, no booking, and 100 in the account."""
    world = made(BookingsWorld)
    trains = [Train("T1", "Arlem", "Brisk", WEEK[0], "08:00", 30), Train("T2", "Arlem", "Brisk", WEEK[0], "06:30", 51)]
    world.trains = {train.train: train for train in trains}
    world.seats = {"T1": 2, "T2": 9}
    world.bookings, world.balance = {}, 100
    return world


async def test_trains_are_found_in_the_order_in_which_they_depart() -> None:
    found = await called(small(), "find_trains", origin="Arlem", destination="Brisk", day=DAY)
    assert [(train["train"], train["price"], train["seats_left"]) for train in found] == [("T2", 51, 9), ("T1", 30, 2)]
    assert await called(small(), "find_trains", origin="Brisk", destination="Arlem", day=DAY) == []
    assert "trains go between" in await refusal(small(), "find_trains", origin="Rome", destination="Brisk", day=DAY)


async def test_a_booking_takes_seats_and_money() -> None:
    world = small()
    made_ = await called(world, "book_train", train="T1", passenger="Ada", seats=2)
    assert (made_["paid"], world.balance, world.seats["T1"]) == (60, 40, 0)
    assert world.facts() == {"seats of Ada on T1": 2, "seats left on T1": 0, "seats left on T2": 9, "balance": 40}
    account = await called(world, "list_bookings")
    assert account == {"bookings": [made_], "balance": 40}


async def test_cancelling_gives_the_seats_back_and_four_fifths_of_the_money_rounded_down() -> None:
    world = small()
    booking = await called(world, "book_train", train="T2", passenger="Ada", seats=1)
    said = await called(world, "cancel_booking", booking=booking["booking"])
    assert "40 were paid back" in said
    assert world.facts() == {"seats left on T1": 2, "seats left on T2": 9, "balance": 89}
    assert "there is no booking" in await refusal(world, "cancel_booking", booking=booking["booking"])


async def test_what_cannot_be_booked_is_refused() -> None:
    world = small()
    assert "there is no train 'T9'" in await refusal(world, "book_train", train="T9", passenger="Ada", seats=1)
    assert "passengers are" in await refusal(world, "book_train", train="T1", passenger="Zoe", seats=1)
    for seats in (0, -1, 3, 10**30):
        assert "2 seats are left on T1" in await refusal(world, "book_train", train="T1", passenger="Ada", seats=seats)
    assert "that is 102, and the account has 100" in await refusal(
        world, "book_train", train="T2", passenger="Ada", seats=2
    )


async def test_two_bookings_of_one_seat_are_as_good_as_one_of_two() -> None:
    once, twice = small(), small()
    await called(once, "book_train", train="T1", passenger="Ada", seats=2)
    for _ in range(2):
        await called(twice, "book_train", train="T1", passenger="Ada", seats=1)
    assert once.facts() == twice.facts()


async def test_there_is_a_forecast_for_every_city_and_day() -> None:
    weather = await called(made(BookingsWorld), "get_weather", city="Arlem", day=DAY)
    assert weather.keys() == {"sky", "degrees", "rain_percent"}
    assert "there are forecasts" in await refusal(made(BookingsWorld), "get_weather", city="Arlem", day="2031-04-01")


@settings(max_examples=40)
@given(
    st.integers(0, 1000),
    st.lists(st.tuples(st.booleans(), st.integers(0, 400), st.integers(-1, 5)), max_size=30),
)
async def test_seats_booked_and_seats_left_always_add_up_and_the_account_is_never_overdrawn(
    seed: int, moves: list[tuple[bool, int, int]]
) -> None:
    world = made(BookingsWorld, seed)
    names = sorted(world.trains)

    def total() -> int:
        return sum(world.seats.values()) + sum(booking.seats for booking in world.bookings.values())

    before = total()
    for booking, which, seats in moves:
        if booking:
            train = names[which % len(names)]
            await outcome_of(world, "book_train", train=train, passenger="Ada", seats=seats)
        else:
            await outcome_of(world, "cancel_booking", booking=which % 8)
        assert total() == before
        assert world.balance >= 0
        assert min(world.seats.values()) >= 0
