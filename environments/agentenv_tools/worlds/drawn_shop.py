"""What is in the database of the world `sql` at the start of an episode: a small shop."""

from __future__ import annotations

import datetime
import random
from dataclasses import dataclass
from typing import NamedTuple

from agentenv_tools.worlds.places import CITIES, MONDAY

SCHEMA = (
    "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, city TEXT NOT NULL, level TEXT NOT NULL "
    "CHECK (level IN ('basic', 'gold'))) STRICT",
    "CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, category TEXT NOT NULL, "
    "price INTEGER NOT NULL CHECK (price > 0), stock INTEGER NOT NULL CHECK (stock >= 0)) STRICT",
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers (id), "
    "product_id INTEGER NOT NULL REFERENCES products (id), quantity INTEGER NOT NULL CHECK (quantity > 0), "
    "day TEXT NOT NULL, status TEXT NOT NULL CHECK (status IN ('open', 'shipped', 'cancelled'))) STRICT",
)
TABLES = ("customers", "products", "orders")
"""In the order in which their rows can be inserted."""

CATEGORIES = ("lamps", "chairs", "tables", "clocks")
FIRST_NAMES = ("Ines", "Jonas", "Karla", "Lukas", "Mira", "Nils", "Olga", "Pavel", "Rosa", "Sven")
LAST_NAMES = ("Adler", "Berg", "Costa", "Dahl", "Egger", "Fuchs", "Grau", "Holm")
_STYLES = ("oak", "steel", "glass", "velvet", "copper", "birch", "marble", "wicker")


class Customer(NamedTuple):
    """A row of the table, as the others are."""

    id: int
    name: str
    city: str
    level: str


class Product(NamedTuple):
    """The price is in whole units of money."""

    id: int
    name: str
    category: str
    price: int
    stock: int


class Order(NamedTuple):
    """The day is in ISO format."""

    id: int
    customer_id: int
    product_id: int
    quantity: int
    day: str
    status: str


@dataclass(frozen=True, slots=True)
class Shop:
    """The rows of all tables."""

    customers: tuple[Customer, ...]
    products: tuple[Product, ...]
    orders: tuple[Order, ...]

    def orders_of(self, customer: Customer) -> list[Order]:
        return [order for order in self.orders if order.customer_id == customer.id]

    def product(self, id: int) -> Product:
        return next(product for product in self.products if product.id == id)


def draw_shop(rng: random.Random) -> Shop:
    """Twelve customers, sixteen products, forty orders of the last two months. Names are unique."""
    names = rng.sample([f"{first} {last}" for first in FIRST_NAMES for last in LAST_NAMES], 12)
    customers = tuple(
        Customer(id, name, rng.choice(CITIES), rng.choice(("basic", "basic", "gold")))
        for id, name in zip(sorted(rng.sample(range(100, 999), 12)), names, strict=True)
    )
    kinds = rng.sample([(style, category) for style in _STYLES for category in CATEGORIES], 16)
    products = tuple(
        Product(id, f"{style} {category[:-1]}", category, 10 * rng.randint(2, 90), rng.randint(0, 60))
        for id, (style, category) in enumerate(kinds, start=rng.randint(1, 50))
    )
    ids = sorted(rng.sample(range(5_000, 6_000), 40))
    return Shop(customers, products, tuple(_order(rng, id, customers, products) for id in ids))


def _order(rng: random.Random, id: int, customers: tuple[Customer, ...], products: tuple[Product, ...]) -> Order:
    day = MONDAY - datetime.timedelta(days=rng.randint(1, 60))
    status = rng.choice(("open", "open", "shipped", "shipped", "cancelled"))
    return Order(id, rng.choice(customers).id, rng.choice(products).id, rng.randint(1, 9), day.isoformat(), status)
