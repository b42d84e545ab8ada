"""The world `bookings`: weather, trains with a price and a number of seats, bookings, and an account that pays them."""

from __future__ import annotations

import datetime
import random
from dataclasses import dataclass
from typing import ClassVar

from agentenv.tools import ToolError, tool
from agentenv_tools.world import Facts, World, register_world
from agentenv_tools.worlds.places import CITIES, PEOPLE, WEEK

REFUND_PERCENT = 80
"""What comes back of the price of a booking that is cancelled, rounded down to a whole sum."""


@dataclass(frozen=True, slots=True)
class Weather:
    """What is expected of a day in a city. Degrees Celsius; the chance of rain in percent."""

    sky: str
    degrees: int
    rain_percent: int


@dataclass(frozen=True, slots=True)
class Train:
    """A train as it is timetabled; the price is that of one seat."""

    train: str
    origin: str
    destination: str
    day: datetime.date
    departs: str
    price: int


@dataclass(frozen=True, slots=True)
class Offer:
    """A train as it is shown, with the seats that are left."""

    train: str
    departs: str
    price: int
    seats_left: int


@dataclass(frozen=True, slots=True)
class Booking:
    """Seats somebody has on a train, and what was paid for them."""

    booking: int
    train: str
    passenger: str
    seats: int
    paid: int


@dataclass(frozen=True, slots=True)
class Account:
    """The bookings there are, and what is left to pay others with."""

    bookings: tuple[Booking, ...]
    balance: int


@register_world
class BookingsWorld(World):
    """Trains between eight cities on the five days of a week."""

    name: ClassVar[str] = "bookings"

    def __init__(self, rng: random.Random) -> None:
        self.weather = {(city, day): _weather(rng) for city in CITIES for day in WEEK}
        self.trains = {train.train: train for train in _trains(rng)}
        self.seats = {name: rng.randint(1, 9) for name in self.trains}
        self.bookings: dict[int, Booking] = {}
        self.balance = rng.randint(900, 1_500)
        for number, name in enumerate(rng.sample(sorted(self.trains), 4), start=1):
            seats = rng.randint(1, 3)
            price = self.trains[name].price * seats
            self.bookings[number] = Booking(number, name, rng.choice(PEOPLE), seats, price)
        self._next = len(self.bookings) + 1

    def between(self, origin: str, destination: str, day: datetime.date) -> list[Train]:
        """The trains from one city to another on a day, in the order in which they depart."""
        found = [
            train
            for train in self.trains.values()
            if (train.origin, train.destination, train.day) == (origin, destination, day)
        ]
        return sorted(found, key=lambda train: train.departs)

    @tool(inline=True)
    def get_weather(self, city: str, day: datetime.date) -> Weather:
        """Says what weather is expected.

        Args:
            city: Its name.
            day: For example "2031-03-04".
        """
        if (city, day) not in self.weather:
            raise ToolError(f"Error: there are forecasts for {', '.join(CITIES)} from {WEEK[0]} to {WEEK[-1]}.")
        return self.weather[city, day]

    @tool(inline=True)
    def find_trains(self, origin: str, destination: str, day: datetime.date) -> list[Offer]:
        """Finds the trains from one city to another on a day, with the price of a seat and the seats that are left.

        Args:
            origin: The city to leave from.
            destination: The city to go to.
            day: For example "2031-03-04".
        """
        for city in (origin, destination):
            if city not in CITIES:
                raise ToolError(f"Error: trains go between {', '.join(CITIES)}.")
        found = self.between(origin, destination, day)
        return [Offer(train.train, train.departs, train.price, self.seats[train.train]) for train in found]

    @tool(inline=True)
    def book_train(self, train: str, passenger: str, seats: int) -> Booking:
        """Books seats on a train and pays them from the account.

        Args:
            train: Its number, for example "T104".
            passenger: First name of whoever travels.
            seats: How many.
        """
        if train not in self.trains:
            raise ToolError(f"Error: there is no train {train[:20]!r}. find_trains says which there are.")
        if passenger not in PEOPLE:
            raise ToolError(f"Error: passengers are {', '.join(PEOPLE)}.")
        price = self.trains[train].price * seats
        if not 1 <= seats <= self.seats[train]:
            raise ToolError(f"Error: {self.seats[train]} seats are left on {train}; {seats} cannot be booked.")
        if price > self.balance:
            raise ToolError(f"Error: that is {price}, and the account has {self.balance}.")
        made = Booking(self._next, train, passenger, seats, price)
        self._next += 1
        self.bookings[made.booking] = made
        self.seats[train] -= seats
        self.balance -= price
        return made

    @tool(inline=True)
    def cancel_booking(self, booking: int) -> str:
        """Cancels a booking for good. 80 percent of what was paid come back.

        Args:
            booking: Its number.
        """
        if booking not in self.bookings:
            raise ToolError(f"Error: there is no booking {booking}. list_bookings says which there are.")
        known = self.bookings.pop(booking)
        back = known.paid * REFUND_PERCENT // 100
        self.seats[known.train] += known.seats
        self.balance += back
        return f"Booking {booking} is cancelled; {back} were paid back."

    @tool(inline=True)
    def list_bookings(self) -> Account:
        """Lists all bookings, and says what is left in the account."""
        return Account(tuple(self.bookings.values()), self.balance)

    def facts(self) -> Facts:
        held: dict[str, int] = {}
        for booking in self.bookings.values():
            name = f"seats of {booking.passenger} on {booking.train}"
            held[name] = held.get(name, 0) + booking.seats
        left = {f"seats left on {train}": seats for train, seats in self.seats.items()}
        return {**held, **left, "balance": self.balance}

    def snapshot(self) -> tuple[dict[str, int], dict[int, Booking], int, int]:
        return dict(self.seats), dict(self.bookings), self.balance, self._next

    def restore(self, snapshot: tuple[dict[str, int], dict[int, Booking], int, int]) -> None:
        seats, bookings, self.balance, self._next = snapshot
        self.seats, self.bookings = dict(seats), dict(bookings)


def _weather(rng: random.Random) -> Weather:
    rain = 5 * rng.randint(0, 20)
    sky = "rain" if rain > 60 else rng.choice(("sun", "clouds", "fog"))
    return Weather(sky, rng.randint(-4, 22), rain)


def _trains(rng: random.Random) -> list[Train]:
    """Two or three trains a day on eight routes. Prices on one route and day differ, so that one is the cheapest."""
    routes = rng.sample([(one, other) for one in CITIES for other in CITIES if one != other], 8)
    found: list[Train] = []
    for origin, destination in sorted(routes):
        for day in WEEK:
            count = rng.randint(2, 3)
            hours = sorted(rng.sample(range(6, 21), count))
            prices = rng.sample(range(20, 120), count)
            for hour, price in zip(hours, prices, strict=True):
                departs = f"{hour:02}:{rng.choice((0, 30)):02}"
                found.append(Train(f"T{101 + len(found)}", origin, destination, day, departs, price))
    return found
