"""`tools/bookings-v0`: trains to book and to cancel, and the weather to look at before."""

from __future__ import annotations

import random
from typing import ClassVar

from agentenv_tools.briefs import Brief, Call
from agentenv_tools.env import GoalEnv
from agentenv_tools.world import Worlds
from agentenv_tools.worlds import BookingsWorld
from agentenv_tools.worlds.bookings import REFUND_PERCENT, Train
from agentenv_tools.worlds.places import PEOPLE, WEEK, spoken


class BookingErrands(GoalEnv):
    """Seats to book and to give back. Paid are the bookings, the seats and the account as they are left.

    A booking that was made by mistake cannot be undone for nothing: cancelling costs a fifth of the price.
    """

    worlds: ClassVar[tuple[str, ...]] = (BookingsWorld.name,)

    def draw(self, rng: random.Random, worlds: Worlds) -> Brief | None:
        return rng.choice((_cheapest, _giving_back, _better_weather, _changing))(rng, worlds.of(BookingsWorld))


def _cheapest(rng: random.Random, bookings: BookingsWorld) -> Brief | None:
    route = rng.choice(list(bookings.trains.values()))
    passenger, seats = rng.choice(PEOPLE), rng.randint(1, 4)
    fitting = [train for train in _alike(bookings, route) if bookings.seats[train.train] >= seats]
    if not fitting:
        return None
    best = min(fitting, key=lambda train: train.price)
    if best.price * seats > bookings.balance:
        return None
    return Brief(
        "cheapest",
        f"Book {seats} {'seat' if seats == 1 else 'seats'} for {passenger} from {route.origin} to {route.destination} "
        f"on {spoken(route.day)}, on the cheapest train that has as many left.",
        ((_finding(route),), (_booking(best, passenger, seats),)),
    )


def _giving_back(rng: random.Random, bookings: BookingsWorld) -> Brief | None:
    booking = rng.choice(list(bookings.bookings.values()))
    train = bookings.trains[booking.train]
    held = [one for one in bookings.bookings.values() if one.passenger == booking.passenger]
    if sum(one.train == booking.train for one in held) > 1:
        return None
    return Brief(
        "giving back",
        f"{booking.passenger} does not travel on train {train.train}: cancel that booking.",
        ((Call("list_bookings"),), (Call("cancel_booking", {"booking": booking.booking}),)),
    )


def _better_weather(rng: random.Random, bookings: BookingsWorld) -> Brief | None:
    route, passenger = rng.choice(list(bookings.trains.values())), rng.choice(PEOPLE)
    days = sorted(rng.sample(WEEK, 2))
    rain = {day: bookings.weather[route.destination, day].rain_percent for day in days}
    if rain[days[0]] == rain[days[1]]:
        return None
    day = min(days, key=lambda one: rain[one])
    train = bookings.between(route.origin, route.destination, day)[0]
    if train.price > bookings.balance:
        return None
    return Brief(
        "better weather",
        f"{passenger} wants to go from {route.origin} to {route.destination} on {spoken(days[0])} or on "
        f"{spoken(days[1])}, whichever has the lower chance of rain in {route.destination}. Book one seat on the first "
        "train of that day.",
        (
            tuple(Call("get_weather", {"city": route.destination, "day": one.isoformat()}) for one in days),
            (_finding(train),),
            (_booking(train, passenger, 1),),
        ),
    )


def _changing(rng: random.Random, bookings: BookingsWorld) -> Brief | None:
    booking = rng.choice(list(bookings.bookings.values()))
    train = bookings.trains[booking.train]
    last = _alike(bookings, train)[-1]
    refund = booking.paid * REFUND_PERCENT // 100
    others = [one for one in bookings.bookings.values() if one.train == train.train]
    room = bookings.seats[last.train] >= booking.seats and last.price * booking.seats <= bookings.balance + refund
    if last == train or len(others) > 1 or not room:
        return None
    return Brief(
        "changing",
        f"{booking.passenger} has a booking on train {train.train} and wants to go as late as possible on that day: "
        f"cancel it, and then book as many seats on the last train of the day on that route, {train.origin} to "
        f"{train.destination} on {spoken(train.day)}.",
        (
            (Call("list_bookings"), _finding(train)),
            (Call("cancel_booking", {"booking": booking.booking}),),
            (_booking(last, booking.passenger, booking.seats),),
        ),
    )


def _alike(bookings: BookingsWorld, train: Train) -> list[Train]:
    return bookings.between(train.origin, train.destination, train.day)


def _finding(train: Train) -> Call:
    route = {"origin": train.origin, "destination": train.destination, "day": train.day.isoformat()}
    return Call("find_trains", route)


def _booking(train: Train, passenger: str, seats: int) -> Call:
    return Call("book_train", {"train": train.train, "passenger": passenger, "seats": seats})
