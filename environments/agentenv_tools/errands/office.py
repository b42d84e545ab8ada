"""`tools/office-v0`: tasks that lead through several worlds, with the tools of all of them at hand."""

from __future__ import annotations

import random
from typing import ClassVar

from agentenv_tools.briefs import Brief, Call
from agentenv_tools.errands.python import SandboxedEnv
from agentenv_tools.world import Worlds
from agentenv_tools.worlds import (
    BookingsWorld,
    CalculatorWorld,
    CalendarWorld,
    FilesWorld,
    PythonWorld,
    SearchWorld,
    SqlWorld,
)
from agentenv_tools.worlds.library import Project, own_library
from agentenv_tools.worlds.places import PEOPLE


class Office(SandboxedEnv):
    """Find a document, work something out, write it down, plan it, book it. Paid are all worlds as they are left."""

    worlds: ClassVar[tuple[str, ...]] = (
        SearchWorld.name,
        FilesWorld.name,
        SqlWorld.name,
        CalendarWorld.name,
        BookingsWorld.name,
        CalculatorWorld.name,
        PythonWorld.name,
    )

    def draw(self, rng: random.Random, worlds: Worlds) -> Brief | None:
        return rng.choice((_review, _trip, _total, _invoice, _left_over))(rng, worlds)


def _review(rng: random.Random, worlds: Worlds) -> Brief | None:
    project = rng.choice(own_library().projects)
    guest = rng.choice([person for person in PEOPLE if person != project.lead])
    minutes, people = rng.choice((30, 60, 90)), sorted((project.lead, guest))
    starts = worlds.of(CalendarWorld).free(project.review, minutes, people)
    if not starts:
        return None
    slots = {"day": project.review.isoformat(), "minutes": minutes, "people": people}
    event = {"title": f"{project.name} review", "start": f"{starts[0]:%Y-%m-%dT%H:%M}", **slots}
    del event["day"]
    return Brief(
        "review",
        f"The documents say on which day the review of the project {project.name} takes place, and who leads it. Enter "
        f'an event "{project.name} review" of {minutes} minutes on that day for whoever leads it and {guest}, as early '
        "as both are free.",
        (*_reading(project), (Call("find_free_slots", slots),), (Call("create_event", event),)),
    )


def _trip(rng: random.Random, worlds: Worlds) -> Brief | None:
    bookings, calendar = worlds.of(BookingsWorld), worlds.of(CalendarWorld)
    project = rng.choice(own_library().projects)
    origins = sorted({train.origin for train in bookings.trains.values() if train.destination == project.city})
    if not origins:
        return None
    origin = rng.choice(origins)
    train = min(bookings.between(origin, project.city, project.review), key=lambda one: one.price)
    starts = calendar.free(project.review, 60, [project.lead])
    if not starts or train.price > bookings.balance:
        return None
    day = project.review.isoformat()
    route = {"origin": origin, "destination": project.city, "day": day}
    slots = {"day": day, "minutes": 60, "people": [project.lead]}
    event = {
        "title": f"Trip to {project.city}",
        "start": f"{starts[0]:%Y-%m-%dT%H:%M}",
        "minutes": 60,
        "people": [project.lead],
    }
    booking = {"train": train.train, "passenger": project.lead, "seats": 1}
    return Brief(
        "trip",
        f"Whoever leads the project {project.name} goes to its review, from {origin} to {project.city}; the documents "
        "say who and on which day. Book one seat on the cheapest train of that day, and enter an event "
        f'"Trip to {project.city}" of 60 minutes for that person, as early on that day as there is room for it.',
        (
            *_reading(project),
            (Call("find_trains", route), Call("find_free_slots", slots)),
            (Call("book_train", booking), Call("create_event", event)),
        ),
    )


def _total(rng: random.Random, worlds: Worlds) -> Brief:
    path, costs = _costs(rng, worlds)
    target, reserve = path.replace("costs.csv", "total.txt"), rng.randint(2, 40)
    total = sum(costs) + reserve * len(costs)
    terms = " + ".join(map(str, costs))
    return Brief(
        "total",
        f"Add up the costs in {path}, and {reserve} more for each item. Write the sum into the new file {target}: "
        "nothing but its digits.",
        (
            (Call("read_file", {"path": path}),),
            (Call("calculate", {"expression": f"{terms} + {reserve} * {len(costs)}"}),),
            (Call("write_file", {"path": target, "text": str(total)}),),
        ),
    )


def _invoice(rng: random.Random, worlds: Worlds) -> Brief | None:
    shop = worlds.of(SqlWorld).shop
    customer, discount = rng.choice(shop.customers), rng.randint(1, 9)
    orders = [order for order in shop.orders_of(customer) if order.status == "open"]
    if not orders:
        return None
    sums = [order.quantity * shop.product(order.product_id).price for order in orders]
    due = sum(sums) - discount * len(orders)
    target = f"/invoices/{customer.name.lower().replace(' ', '-')}.txt"
    shipped = f"UPDATE orders SET status = 'shipped' WHERE status = 'open' AND customer_id = {customer.id}"
    question = (
        f"Send {customer.name} an invoice: add up what all open orders of this customer cost (quantity times the price "
        f"of the product), take {discount} off for each of these orders, and write the sum, nothing but its digits, "
        f"into the new file {target}. Then set these orders to shipped."
    )
    rows = (
        "SELECT orders.id, quantity, price FROM orders JOIN products ON products.id = product_id JOIN customers ON "
        f"customers.id = customer_id WHERE status = 'open' AND customers.name = '{customer.name}'"
    )
    expression = f"{' + '.join(map(str, sums))} - {discount} * {len(orders)}"
    return Brief(
        "invoice",
        question,
        (
            (Call("describe_tables"),),
            (
                Call("run_sql", {"statement": rows}),
                Call("run_sql", {"statement": f"SELECT id FROM customers WHERE name = '{customer.name}'"}),
            ),
            (Call("calculate", {"expression": expression}),),
            (Call("write_file", {"path": target, "text": str(due)}), Call("run_sql", {"statement": shipped})),
        ),
    )


def _left_over(rng: random.Random, worlds: Worlds) -> Brief:
    project = rng.choice(own_library().projects)
    path, costs = _costs(rng, worlds)
    left = project.budget - sum(costs)
    find, read = _reading(project)
    return Brief(
        "left over",
        f"What is left of the budget of the project {project.name}, which the documents say, if all costs in {path} "
        "are paid from it? It may be less than nothing.",
        (
            (*find, Call("read_file", {"path": path})),
            read,
            (Call("calculate", {"expression": f"{project.budget} - ({' + '.join(map(str, costs))})"}),),
        ),
        left,
    )


def _reading(project: Project) -> tuple[tuple[Call, ...], tuple[Call, ...]]:
    """Finding and reading what is written about a project."""
    return (
        (Call("search_documents", {"query": f"project {project.name} review"}),),
        (Call("read_document", {"id": project.document}),),
    )


def _costs(rng: random.Random, worlds: Worlds) -> tuple[str, list[int]]:
    """A file with costs, and the costs in it."""
    files = worlds.of(FilesWorld).files
    path = rng.choice([path for path in files if path.endswith("/costs.csv")])
    return path, [int(line.partition(",")[2]) for line in files[path].splitlines()[1:]]
