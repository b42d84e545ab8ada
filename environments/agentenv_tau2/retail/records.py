"""What the shop's database holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

import pydantic

from agentenv_tau2.tables import Record


class OrderStatus(StrEnum):
    PENDING = "pending"
    PROCESSED = "processed"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"
    ITEM_MODIFIED = "pending (item modified)"
    EXCHANGE_REQUESTED = "exchange requested"
    RETURN_REQUESTED = "return requested"

    @property
    def pending(self) -> bool:
        """Whether the order has not left the shop, even if its items were modified."""
        return self in (OrderStatus.PENDING, OrderStatus.ITEM_MODIFIED)


class CancelReason(StrEnum):
    NO_LONGER_NEEDED = "no longer needed"
    ORDERED_BY_MISTAKE = "ordered by mistake"


class TransactionType(StrEnum):
    PAYMENT = "payment"
    REFUND = "refund"


class Address(Record):
    address1: str
    address2: str
    city: str
    country: str
    state: str
    zip: str


class Variant(Record):
    """What can be bought: a product in one of its forms. Prices are in dollars."""

    item_id: str
    options: Mapping[str, str]
    available: bool
    price: float


class Product(Record):
    name: str
    product_id: str
    variants: Mapping[str, Variant]


class GiftCard(Record):
    source: Literal["gift_card"]
    id: str
    balance: float
    """In dollars."""


class CreditCard(Record):
    source: Literal["credit_card"]
    id: str
    brand: str
    last_four: str


class PayPal(Record):
    source: Literal["paypal"]
    id: str


PaymentMethod = Annotated[GiftCard | CreditCard | PayPal, pydantic.Field(discriminator="source")]


class FullName(Record):
    first_name: str
    last_name: str


class Customer(Record):
    """A user of the shop."""

    user_id: str
    name: FullName
    address: Address
    email: str
    payment_methods: Mapping[str, PaymentMethod]
    orders: tuple[str, ...]


class OrderItem(Record):
    """One piece of an order; two of a kind are two items with one `item_id`."""

    name: str
    product_id: str
    item_id: str
    price: float
    options: Mapping[str, str]


class Fulfillment(Record):
    tracking_id: tuple[str, ...]
    item_ids: tuple[str, ...]


class Transaction(Record):
    """Money that has moved: `amount` dollars, never negative."""

    transaction_type: TransactionType
    amount: float
    payment_method_id: str


class Order(Record):
    """An order. What was asked of it later stands in the attributes at the end, in order of the item ids."""

    order_id: str
    user_id: str
    address: Address
    items: tuple[OrderItem, ...]
    status: OrderStatus
    fulfillments: tuple[Fulfillment, ...]
    payment_history: tuple[Transaction, ...]
    cancel_reason: CancelReason | None = None
    exchange_items: tuple[str, ...] | None = None
    exchange_new_items: tuple[str, ...] | None = None
    exchange_payment_method_id: str | None = None
    exchange_price_difference: float | None = None
    return_items: tuple[str, ...] | None = None
    return_payment_method_id: str | None = None


@dataclass(frozen=True, slots=True)
class Shop:
    """The records of `db.json`; shared by all worlds. No tool changes a product."""

    digest: str
    products: Mapping[str, Product]
    users: Mapping[str, Customer]
    orders: Mapping[str, Order]
    variants: Mapping[str, Variant]
    """Of all products, by item id."""

    @classmethod
    def read(cls, text: str, digest: str) -> Self:
        """The records of the file's text. Raises `KeyError` or `ValueError` where it is another file's."""
        raw: dict[str, dict[str, Any]] = json.loads(text)
        products = {id: Product.model_validate(record) for id, record in raw["products"].items()}
        users = {id: Customer.model_validate(record) for id, record in raw["users"].items()}
        orders = {id: Order.model_validate(record) for id, record in raw["orders"].items()}
        variants = {id: variant for product in products.values() for id, variant in product.variants.items()}
        return cls(digest, products, users, orders, variants)
