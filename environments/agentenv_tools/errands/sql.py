"""`tools/sql-v0`: a shop's database, to be asked and to be kept."""

from __future__ import annotations

import random
from typing import ClassVar

from agentenv_tools.briefs import Brief, Call
from agentenv_tools.env import GoalEnv
from agentenv_tools.world import Worlds
from agentenv_tools.worlds import SqlWorld
from agentenv_tools.worlds.drawn_shop import CATEGORIES, Customer, Shop
from agentenv_tools.worlds.places import CITIES, MONDAY


class SqlErrands(GoalEnv):
    """Rows to change, to enter and to delete, and questions. Paid are all rows of all tables as they are left."""

    worlds: ClassVar[tuple[str, ...]] = (SqlWorld.name,)

    def draw(self, rng: random.Random, worlds: Worlds) -> Brief | None:
        draw = rng.choice((_dearer, _purge, _order, _shipped, _units, _best_seller))
        return draw(rng, worlds.of(SqlWorld).shop)


def _dearer(rng: random.Random, shop: Shop) -> Brief | None:
    category, amount, stock = rng.choice(CATEGORIES), rng.randint(1, 99), rng.randint(10, 50)
    if not any(product.category == category and product.stock < stock for product in shop.products):
        return None
    return Brief(
        "dearer",
        f"Raise the price of all products of the category {category} of which fewer than {stock} are in stock by "
        f"{amount}.",
        (
            _tables(),
            _sql(f"UPDATE products SET price = price + {amount} WHERE category = '{category}' AND stock < {stock}"),
        ),
    )


def _purge(rng: random.Random, shop: Shop) -> Brief | None:
    customer, status = rng.choice(shop.customers), rng.choice(("cancelled", "shipped"))
    if not any(order.status == status for order in shop.orders_of(customer)):
        return None
    return Brief(
        "purge",
        f"Delete all {status} orders of the customer {customer.name}.",
        (
            (*_tables(), *_sql(f"SELECT id FROM customers WHERE name = '{customer.name}'")),
            _sql(f"DELETE FROM orders WHERE customer_id = {customer.id} AND status = '{status}'"),
        ),
    )


def _order(rng: random.Random, shop: Shop) -> Brief | None:
    customer = rng.choice(shop.customers)
    product = rng.choice(shop.products)
    quantity, id = rng.randint(1, 9), rng.randint(6_000, 9_999)
    if product.stock < quantity:
        return None
    return Brief(
        "order",
        f"{customer.name} orders {quantity} of the product {product.name}: enter the order under the id {id}, with the "
        f"day {MONDAY.isoformat()} and the status open, and take the products out of the stock.",
        (
            _tables(),
            (
                *_sql(f"SELECT id FROM customers WHERE name = '{customer.name}'"),
                *_sql(f"SELECT id FROM products WHERE name = '{product.name}'"),
            ),
            (
                *_sql(
                    f"INSERT INTO orders VALUES ({id}, {customer.id}, {product.id}, {quantity}, "
                    f"'{MONDAY.isoformat()}', 'open')"
                ),
                *_sql(f"UPDATE products SET stock = stock - {quantity} WHERE id = {product.id}"),
            ),
        ),
    )


def _shipped(rng: random.Random, shop: Shop) -> Brief | None:
    city, quantity = rng.choice(CITIES), rng.randint(3, 9)
    there = [customer for customer in shop.customers if customer.city == city]
    if not any(_open(shop, customer, quantity) for customer in there):
        return None
    return Brief(
        "shipped",
        f"All open orders of customers in {city} with a quantity of at most {quantity} have left the house: set their "
        "status to shipped.",
        (
            _tables(),
            _sql(
                f"UPDATE orders SET status = 'shipped' WHERE status = 'open' AND quantity <= {quantity} AND "
                f"customer_id IN (SELECT id FROM customers WHERE city = '{city}')"
            ),
        ),
    )


def _open(shop: Shop, customer: Customer, quantity: int) -> bool:
    return any(order.status == "open" and order.quantity <= quantity for order in shop.orders_of(customer))


def _units(rng: random.Random, shop: Shop) -> Brief | None:
    category, least = rng.choice(CATEGORIES), 10 * rng.randint(2, 40)
    dear = {product.id for product in shop.products if product.category == category and product.price >= least}
    units = sum(order.quantity for order in shop.orders if order.product_id in dear and order.status == "open")
    if not units:
        return None
    return Brief(
        "units",
        f"How many units of products of the category {category} that cost at least {least} are in open orders?",
        (
            _tables(),
            _sql(
                "SELECT sum(quantity) FROM orders JOIN products ON products.id = product_id WHERE status = 'open' AND "
                f"category = '{category}' AND price >= {least}"
            ),
        ),
        units,
    )


def _best_seller(rng: random.Random, shop: Shop) -> Brief | None:
    customer = rng.choice(shop.customers)
    sold: dict[str, int] = {}
    for order in shop.orders_of(customer):
        if order.status != "cancelled":
            product = shop.product(order.product_id)
            sold[product.name] = sold.get(product.name, 0) + order.quantity * product.price
    ranked = sorted(sold.values(), reverse=True)
    if len(ranked) < 2 or ranked[0] == ranked[1]:
        return None
    return Brief(
        "best seller",
        f"On which product does the customer {customer.name} spend most, in all orders that are not cancelled? A "
        "product is answered by its name.",
        (
            _tables(),
            _sql(
                "SELECT products.name, sum(quantity * price) AS spent FROM orders JOIN products ON products.id = "
                "product_id JOIN customers ON customers.id = customer_id WHERE status <> 'cancelled' AND "
                f"customers.name = '{customer.name}' GROUP BY products.id ORDER BY spent DESC"
            ),
        ),
        max(sold, key=lambda name: sold[name]),
    )


def _tables() -> tuple[Call, ...]:
    return (Call("describe_tables"),)


def _sql(statement: str) -> tuple[Call, ...]:
    return (Call("run_sql", {"statement": statement}),)
