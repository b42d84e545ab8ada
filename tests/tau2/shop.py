"""A shop small enough to reckon by hand: two products, two customers, four orders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agentenv_tau2.retail.changes import RetailWorld
from agentenv_tau2.retail.records import Shop

HOME = {"address1": "1 Elm St", "address2": "", "city": "Reno", "country": "USA", "state": "NV", "zip": "11111"}
AWAY = {"address1": "9 Oak Ave", "address2": "Apt 2", "city": "Ames", "state": "IA", "country": "USA", "zip": "50010"}


def _variant(item_id: str, color: str, price: float, *, available: bool = True) -> dict[str, Any]:
    return {"item_id": item_id, "options": {"color": color}, "available": available, "price": price}


def _product(product_id: str, name: str, *variants: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "product_id": product_id, "variants": {variant["item_id"]: variant for variant in variants}}


MUG = _product(
    "100",
    "Mug",
    _variant("101", "red", 10.0),
    _variant("102", "blue", 12.5),
    _variant("103", "green", 9.0, available=False),
    _variant("104", "white", 7.1),
)
LAMP = _product("200", "Lamp", _variant("201", "black", 5.0), _variant("202", "gold", 9.99))


def _item(product: dict[str, Any], item_id: str) -> dict[str, Any]:
    variant = product["variants"][item_id]
    shared = {"name": product["name"], "product_id": product["product_id"], "item_id": item_id}
    return {**shared, "price": variant["price"], "options": variant["options"]}


def _order(order_id: str, user_id: str, status: str, paid_by: str, *items: dict[str, Any]) -> dict[str, Any]:
    amount = sum(item["price"] for item in items)
    return {
        "order_id": order_id,
        "user_id": user_id,
        "address": HOME,
        "items": list(items),
        "status": status,
        "fulfillments": [],
        "payment_history": [{"transaction_type": "payment", "amount": amount, "payment_method_id": paid_by}],
    }


def _user(user_id: str, first: str, last: str, *methods: dict[str, Any]) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "name": {"first_name": first, "last_name": last},
        "address": HOME,
        "email": f"{first}.{last}@example.com",
        "payment_methods": {method["id"]: method for method in methods},
        "orders": [],
    }


DATABASE: dict[str, dict[str, Any]] = {
    "products": {"100": MUG, "200": LAMP},
    "users": {
        "ann_lee_1": _user(
            "ann_lee_1",
            "Ann",
            "Lee",
            {"source": "gift_card", "id": "gift_card_1", "balance": 2.0},
            {"source": "credit_card", "id": "credit_card_1", "brand": "visa", "last_four": "1111"},
            {"source": "paypal", "id": "paypal_1"},
        ),
        "bob_ray_2": _user("bob_ray_2", "Bob", "Ray", {"source": "paypal", "id": "paypal_2"}),
    },
    "orders": {
        "#W1": _order("#W1", "ann_lee_1", "pending", "credit_card_1", _item(MUG, "101"), _item(LAMP, "201")),
        "#W2": _order("#W2", "ann_lee_1", "delivered", "paypal_1", _item(MUG, "101"), _item(MUG, "101")),
        "#W3": _order("#W3", "bob_ray_2", "processed", "paypal_2", _item(LAMP, "201")),
        "#W4": _order("#W4", "ann_lee_1", "pending", "gift_card_1", _item(LAMP, "201")),
    },
}

TASKS: list[dict[str, Any]] = [
    {
        "id": "cancel",
        "user_scenario": {
            "persona": "Short of words.",
            "instructions": {
                "domain": "retail",
                "reason_for_call": "You want to cancel your order #W1, which you ordered by mistake.",
                "known_info": "You are Ann Lee in zip code 11111.",
                "unknown_info": "You do not remember your email address.",
                "task_instructions": "You are in a hurry.",
            },
        },
        "initial_state": None,
        "evaluation_criteria": {
            "actions": [
                {
                    "action_id": "1",
                    "name": "find_user_id_by_name_zip",
                    "arguments": {"first_name": "Ann", "last_name": "Lee", "zip": "11111"},
                },
                {
                    "action_id": "2",
                    "name": "cancel_pending_order",
                    "arguments": {"order_id": "#W1", "reason": "ordered by mistake"},
                },
            ],
            "communicate_info": ["1500.25"],
            "reward_basis": ["DB", "COMMUNICATE"],
        },
    },
]


def shop() -> Shop:
    return Shop.read(json.dumps(DATABASE), "by hand")


def world() -> RetailWorld:
    """The shop of a new episode."""
    return RetailWorld(shop())


def write_domain(
    folder: Path,
    tasks: list[dict[str, Any]] | None = None,
    *,
    domain: str = "retail",
    database: dict[str, Any] | None = None,
) -> Path:
    """A folder as the benchmark's, with this shop; returns what `data=` takes."""
    wanted = TASKS if tasks is None else tasks
    (folder / domain).mkdir(parents=True)
    (folder / domain / "db.json").write_text(json.dumps(DATABASE if database is None else database))
    (folder / domain / "tasks.json").write_text(json.dumps(wanted))
    (folder / domain / "policy.md").write_text("# Policy\n\nBe kind.\n")
    (folder / domain / "split_tasks.json").write_text(json.dumps({"base": [task["id"] for task in wanted]}))
    return folder
