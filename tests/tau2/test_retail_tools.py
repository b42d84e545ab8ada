"""The shop's tools: what they do, reckoned by hand, and when they refuse to."""

from __future__ import annotations

import re
from typing import Any

import pytest

from agentenv.tools import ToolError
from agentenv_tau2.retail.arithmetic import LONGEST, evaluate
from agentenv_tau2.retail.changes import RetailWorld
from agentenv_tau2.retail.records import GiftCard, Order, OrderStatus, Transaction, TransactionType
from tests.tau2.shop import AWAY, world


def balance(shop: RetailWorld) -> float:
    card = shop.get_user_details("ann_lee_1").payment_methods["gift_card_1"]
    assert isinstance(card, GiftCard)
    return card.balance


def moved(transaction: Transaction) -> tuple[str, float, str]:
    return transaction.transaction_type.value, transaction.amount, transaction.payment_method_id


def test_a_cancelled_order_gives_the_money_back_to_where_it_came_from() -> None:
    shop = world()
    order = shop.call("cancel_pending_order", {"order_id": "#W1", "reason": "no longer needed"})
    assert (order.status, order.cancel_reason) == ("cancelled", "no longer needed")
    assert [moved(one) for one in order.payment_history] == [
        ("payment", 15.0, "credit_card_1"),
        ("refund", 15.0, "credit_card_1"),
    ]
    assert balance(shop) == 2.0
    shop.call("cancel_pending_order", {"order_id": "#W4", "reason": "ordered by mistake"})
    assert balance(shop) == 7.0


def test_replaced_items_are_paid_for_each_at_its_own_price() -> None:
    shop = world()
    arguments = {"order_id": "#W1", "item_ids": ["101", "201"], "new_item_ids": ["102", "202"]}
    order = shop.call("modify_pending_order_items", {**arguments, "payment_method_id": "paypal_1"})
    assert [(item.item_id, item.price) for item in order.items] == [("102", 12.5), ("202", 9.99)]
    assert order.items[0].options == {"color": "blue"}
    assert moved(order.payment_history[-1]) == ("payment", 7.49, "paypal_1")
    assert order.status == "pending (item modified)"


def test_cheaper_items_are_refunded_to_a_gift_card_at_once() -> None:
    shop = world()
    arguments = {"order_id": "#W1", "item_ids": ["101"], "new_item_ids": ["104"], "payment_method_id": "gift_card_1"}
    order = shop.call("modify_pending_order_items", arguments)
    assert moved(order.payment_history[-1]) == ("refund", 2.9, "gift_card_1")
    assert balance(shop) == 4.9


def test_the_order_in_which_items_are_named_makes_no_difference() -> None:
    one, other = world(), world()
    fixed = {"order_id": "#W1", "payment_method_id": "paypal_1"}
    one.call("modify_pending_order_items", {**fixed, "item_ids": ["101", "201"], "new_item_ids": ["102", "202"]})
    other.call("modify_pending_order_items", {**fixed, "item_ids": ["201", "101"], "new_item_ids": ["202", "102"]})
    assert one.fingerprint() == other.fingerprint()


def test_an_exchange_notes_what_goes_what_comes_and_what_it_costs() -> None:
    shop = world()
    arguments = {"order_id": "#W2", "item_ids": ["101", "101"], "new_item_ids": ["104", "102"]}
    order = shop.call("exchange_delivered_order_items", {**arguments, "payment_method_id": "credit_card_1"})
    assert order.status == "exchange requested"
    assert order.exchange_items == ("101", "101")
    assert order.exchange_new_items == ("102", "104")
    assert order.exchange_price_difference == -0.4
    assert [item.item_id for item in order.items] == ["101", "101"]


def test_an_item_may_be_exchanged_for_another_piece_of_the_same() -> None:
    arguments = {"order_id": "#W2", "item_ids": ["101"], "new_item_ids": ["101"], "payment_method_id": "paypal_1"}
    assert world().call("exchange_delivered_order_items", arguments).exchange_price_difference == 0.0


@pytest.mark.parametrize("method", ["paypal_1", "gift_card_1"])
def test_a_return_is_refunded_as_it_was_paid_or_to_a_gift_card(method: str) -> None:
    shop = world()
    arguments = {"order_id": "#W2", "item_ids": ["101"], "payment_method_id": method}
    order = shop.call("return_delivered_order_items", arguments)
    assert (order.status, order.return_items) == ("return requested", ("101",))
    assert order.return_payment_method_id == method
    assert balance(shop) == 2.0


def test_another_payment_method_pays_and_the_first_gets_its_money_back() -> None:
    shop = world()
    order = shop.call("modify_pending_order_payment", {"order_id": "#W4", "payment_method_id": "paypal_1"})
    assert [moved(one) for one in order.payment_history] == [
        ("payment", 5.0, "gift_card_1"),
        ("payment", 5.0, "paypal_1"),
        ("refund", 5.0, "gift_card_1"),
    ]
    assert (order.status, balance(shop)) == ("pending", 7.0)
    cancelled = shop.call("cancel_pending_order", {"order_id": "#W4", "reason": "no longer needed"})
    assert moved(cancelled.payment_history[-1]) == ("refund", 5.0, "paypal_1")
    assert balance(shop) == 7.0


def test_addresses_of_pending_orders_and_of_users_can_be_changed() -> None:
    shop = world()
    assert shop.call("modify_pending_order_address", {"order_id": "#W1", **AWAY}).address.city == "Ames"
    assert shop.get_user_details("ann_lee_1").address.city == "Reno"
    assert shop.call("modify_user_address", {"user_id": "ann_lee_1", **AWAY}).address.zip == "50010"
    found = {"first_name": "ANN", "last_name": "lee", "zip": "50010"}
    assert shop.call("find_user_id_by_name_zip", found) == "ann_lee_1"


def test_users_are_found_by_email_whatever_its_case() -> None:
    assert world().call("find_user_id_by_email", {"email": "ann.LEE@example.com"}) == "ann_lee_1"


def test_what_is_not_there_is_not_written_out() -> None:
    assert "cancel_reason" not in world().get_order_details("#W1").model_dump()


MODIFY = {"order_id": "#W1", "item_ids": ["101"], "new_item_ids": ["102"], "payment_method_id": "paypal_1"}
EXCHANGE = {"order_id": "#W2", "item_ids": ["101"], "new_item_ids": ["102"], "payment_method_id": "paypal_1"}
RETURN = {"order_id": "#W2", "item_ids": ["101"], "payment_method_id": "paypal_1"}
REASON = "no longer needed"

REFUSALS: list[tuple[str, dict[str, Any], str]] = [
    ("get_order_details", {"order_id": "W1"}, "no order W1"),
    ("get_user_details", {"user_id": "nobody"}, "no user nobody"),
    ("get_product_details", {"product_id": "101"}, "no product 101"),
    ("get_item_details", {"item_id": "100"}, "no item 100"),
    ("find_user_id_by_email", {"email": "no@example.com"}, "no user has the email"),
    ("find_user_id_by_name_zip", {"first_name": "Ann", "last_name": "Lee", "zip": "1111"}, "zip code 1111"),
    ("cancel_pending_order", {"order_id": "#W2", "reason": REASON}, "#W2 is delivered; only pending"),
    ("cancel_pending_order", {"order_id": "#W3", "reason": REASON}, "#W3 is processed; only pending"),
    ("modify_pending_order_address", {"order_id": "#W3", **AWAY}, "#W3 is processed; only pending"),
    ("modify_user_address", {"user_id": "nobody", **AWAY}, "no user nobody"),
    ("modify_pending_order_items", {**MODIFY, "order_id": "#W2"}, "#W2 is delivered; only pending"),
    ("modify_pending_order_items", {**MODIFY, "item_ids": ["202"]}, "0 of item 202, not 1"),
    ("modify_pending_order_items", {**MODIFY, "item_ids": ["101", "101"]}, "1 of item 101, not 2"),
    ("modify_pending_order_items", {**MODIFY, "new_item_ids": ["102", "202"]}, "1 items cannot be replaced by 2"),
    ("modify_pending_order_items", {**MODIFY, "new_item_ids": ["201"]}, "not of the product 100"),
    ("modify_pending_order_items", {**MODIFY, "new_item_ids": ["103"]}, "item 103 is not available"),
    ("modify_pending_order_items", {**MODIFY, "new_item_ids": ["101"]}, "must be another"),
    ("modify_pending_order_items", {**MODIFY, "payment_method_id": "paypal_2"}, "has no payment method paypal_2"),
    ("modify_pending_order_items", {**MODIFY, "payment_method_id": "gift_card_1"}, "does not cover $2.50"),
    (
        "modify_pending_order_payment",
        {"order_id": "#W1", "payment_method_id": "paypal_2"},
        "no payment method paypal_2",
    ),
    ("modify_pending_order_payment", {"order_id": "#W1", "payment_method_id": "credit_card_1"}, "already"),
    ("modify_pending_order_payment", {"order_id": "#W1", "payment_method_id": "gift_card_1"}, "does not cover $15.00"),
    ("modify_pending_order_payment", {"order_id": "#W2", "payment_method_id": "gift_card_1"}, "#W2 is delivered"),
    ("exchange_delivered_order_items", {**EXCHANGE, "order_id": "#W1"}, "#W1 is pending; only delivered"),
    ("exchange_delivered_order_items", {**EXCHANGE, "new_item_ids": ["103"]}, "item 103 is not available"),
    ("exchange_delivered_order_items", {**EXCHANGE, "new_item_ids": []}, "1 items cannot be replaced by 0"),
    ("exchange_delivered_order_items", {**EXCHANGE, "payment_method_id": "paypal_2"}, "no payment method paypal_2"),
    ("exchange_delivered_order_items", {**EXCHANGE, "payment_method_id": "gift_card_1"}, "does not cover $2.50"),
    ("return_delivered_order_items", {**RETURN, "order_id": "#W4"}, "#W4 is pending; only delivered"),
    ("return_delivered_order_items", {**RETURN, "payment_method_id": "credit_card_1"}, "must go to the payment method"),
    ("return_delivered_order_items", {**RETURN, "payment_method_id": "paypal_2"}, "no payment method paypal_2"),
    ("return_delivered_order_items", {**RETURN, "item_ids": ["101"] * 3}, "2 of item 101, not 3"),
    ("calculate", {"expression": "1 / 0"}, "has no value"),
]


@pytest.mark.parametrize(("name", "arguments", "why"), REFUSALS)
def test_what_cannot_be_done_is_said_and_changes_nothing(name: str, arguments: dict[str, Any], why: str) -> None:
    shop = world()
    with pytest.raises(ToolError, match=f"^Error: .*{re.escape(why)}"):
        shop.call(name, arguments)
    assert shop.changed == ()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("modify_pending_order_items", MODIFY), ("cancel_pending_order", {"order_id": "#W1", "reason": REASON})],
)
def test_items_of_an_order_are_modified_once_and_then_it_is_not_cancelled(name: str, arguments: dict[str, Any]) -> None:
    shop = world()
    shop.call("modify_pending_order_items", MODIFY)
    with pytest.raises(ToolError, match=r"is pending \(item modified\); only pending"):
        shop.call(name, arguments)


def test_an_order_with_modified_items_can_still_be_sent_elsewhere_but_not_paid_otherwise() -> None:
    shop = world()
    shop.call("modify_pending_order_items", MODIFY)
    assert shop.call("modify_pending_order_address", {"order_id": "#W1", **AWAY}).address.city == "Ames"
    with pytest.raises(ToolError, match="exactly once"):
        shop.call("modify_pending_order_payment", {"order_id": "#W1", "payment_method_id": "paypal_1"})


@pytest.mark.parametrize("second", ["exchange_delivered_order_items", "return_delivered_order_items"])
def test_an_order_is_exchanged_or_returned_once(second: str) -> None:
    shop = world()
    shop.call("return_delivered_order_items", RETURN)
    with pytest.raises(ToolError, match="is return requested; only delivered"):
        shop.call(second, EXCHANGE if second.startswith("exchange") else RETURN)


def test_of_two_items_of_a_kind_one_can_be_replaced() -> None:
    shop = world()
    order = shop.get_order_details("#W2").but(status=OrderStatus.PENDING)
    assert isinstance(order, Order)
    shop._orders["#W2"] = order
    changed = shop.call("modify_pending_order_items", {**EXCHANGE, "order_id": "#W2"})
    assert [item.item_id for item in changed.items] == ["102", "101"]
    assert changed.payment_history[-1].transaction_type is TransactionType.PAYMENT


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("2 + 2", 4.0),
        ("466.75 + 288.82 + 135.24 + 193.38 + 46.66", 1130.85),
        ("135.24 - 153.23", -17.99),
        ("2 * (3 + 4) / 7", 2.0),
        ("-(1.5)", -1.5),
    ],
)
def test_sums_come_out_to_the_cent(expression: str, value: float) -> None:
    assert float(world().call("calculate", {"expression": expression})) == value


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "2 +",
        "2 ** 9999",
        "__import__('os')",
        "1 if 1 else 2",
        "True",
        "1j",
        "9" * 400,
        "(" * 300,
        "1" * (LONGEST + 1),
    ],
)
def test_what_is_no_sum_has_no_value(expression: str) -> None:
    with pytest.raises(ValueError, match=r"expression|has no value|is too large"):
        evaluate(expression)
