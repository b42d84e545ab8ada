"""The tools of the service desk that change orders and profiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from agentenv.tools import ToolError, tool
from agentenv_tau2.retail.lookups import Lookups
from agentenv_tau2.retail.records import (
    Address,
    CancelReason,
    Customer,
    GiftCard,
    Order,
    OrderItem,
    OrderStatus,
    PaymentMethod,
    Transaction,
    TransactionType,
    Variant,
)


@dataclass(frozen=True, slots=True)
class Swap:
    """An item of an order, by its place there, and the one that takes its place."""

    place: int
    old: OrderItem
    new: Variant


class RetailWorld(Lookups):
    """A shop of one episode with everything its service desk can do.

    A tool that cannot do what it is asked for says why and changes nothing.
    """

    @tool(inline=True)
    def cancel_pending_order(self, order_id: str, reason: CancelReason) -> Order:
        """Cancels a pending order, refunds what was paid, and returns the order. The user must have confirmed it.

        A gift card is refunded at once, anything else within 5 to 7 business days.

        Args:
            order_id: Such as "#W0000000", with the "#" at the beginning.
            reason: Why the user cancels it.
        """
        order = self._in_status(order_id, OrderStatus.PENDING, "cancelled")
        refunds = _refunds(order)
        for refund in refunds:
            self._charge(order.user_id, refund.payment_method_id, -refund.amount)
        return self._store(
            order.but(
                status=OrderStatus.CANCELLED,
                cancel_reason=reason,
                payment_history=order.payment_history + refunds,
            )
        )

    @tool(inline=True)
    def modify_pending_order_address(
        self, order_id: str, address1: str, address2: str, city: str, state: str, country: str, zip: str
    ) -> Order:
        """Changes the shipping address of a pending order and returns the order. The user must have confirmed it.

        Args:
            order_id: Such as "#W0000000", with the "#" at the beginning.
            address1: The first line, such as "123 Main St".
            address2: The second line, such as "Apt 1", or "".
            city: Such as "San Francisco".
            state: Such as "CA".
            country: Such as "USA".
            zip: Such as "12345".
        """
        order = self._still_pending(order_id)
        address = Address(address1=address1, address2=address2, city=city, state=state, country=country, zip=zip)
        return self._store(order.but(address=address))

    @tool(inline=True)
    def modify_pending_order_payment(self, order_id: str, payment_method_id: str) -> Order:
        """Changes how a pending order is paid and returns the order. The user must have confirmed it.

        Args:
            order_id: Such as "#W0000000", with the "#" at the beginning.
            payment_method_id: Another method of the same user, such as "gift_card_0000000".
        """
        order = self._still_pending(order_id)
        method = self._method(order.user_id, payment_method_id)
        history = order.payment_history
        if len(history) != 1 or history[0].transaction_type is not TransactionType.PAYMENT:
            raise ToolError(f"Error: order {order_id} must have been paid exactly once to be paid in another way.")
        paid = history[0]
        if paid.payment_method_id == payment_method_id:
            raise ToolError(f"Error: order {order_id} is paid with {payment_method_id} already.")
        _require_balance(method, paid.amount)
        self._charge(order.user_id, payment_method_id, paid.amount)
        self._charge(order.user_id, paid.payment_method_id, -paid.amount)
        moved = (
            _transaction(TransactionType.PAYMENT, paid.amount, payment_method_id),
            _transaction(TransactionType.REFUND, paid.amount, paid.payment_method_id),
        )
        return self._store(order.but(payment_history=history + moved))

    @tool(inline=True)
    def modify_pending_order_items(
        self, order_id: str, item_ids: list[str], new_item_ids: list[str], payment_method_id: str
    ) -> Order:
        """Replaces items of a pending order by other items of the same products and returns the order.

        This can be done only once, and the order can no longer be cancelled then. The user must have confirmed it.

        Args:
            order_id: Such as "#W0000000", with the "#" at the beginning.
            item_ids: The items to replace; one that is to be replaced twice is named twice.
            new_item_ids: What replaces them, in the same order.
            payment_method_id: Pays the difference in price or gets it back, such as "credit_card_0000000".
        """
        order = self._in_status(order_id, OrderStatus.PENDING, "modified")
        swaps = self._swaps(order, item_ids, new_item_ids)
        for swap in swaps:
            if swap.old.item_id == swap.new.item_id:
                raise ToolError(f"Error: the new item {swap.new.item_id} must be another than the old one.")
        difference = _difference(swaps)
        _require_balance(self._method(order.user_id, payment_method_id), difference)
        self._charge(order.user_id, payment_method_id, difference)
        kind = TransactionType.PAYMENT if difference > 0 else TransactionType.REFUND
        items = list(order.items)
        for swap in swaps:
            new = swap.new
            items[swap.place] = swap.old.but(item_id=new.item_id, price=new.price, options=new.options)
        return self._store(
            order.but(
                status=OrderStatus.ITEM_MODIFIED,
                items=tuple(items),
                payment_history=(*order.payment_history, _transaction(kind, abs(difference), payment_method_id)),
            )
        )

    @tool(inline=True)
    def exchange_delivered_order_items(
        self, order_id: str, item_ids: list[str], new_item_ids: list[str], payment_method_id: str
    ) -> Order:
        """Requests that items of a delivered order be exchanged for items of the same products; returns the order.

        An order can be exchanged or returned only once. The user must have confirmed it.

        Args:
            order_id: Such as "#W0000000", with the "#" at the beginning.
            item_ids: The items to exchange; one that is to be exchanged twice is named twice.
            new_item_ids: What they are exchanged for, in the same order.
            payment_method_id: Pays the difference in price or gets it back, such as "credit_card_0000000".
        """
        order = self._in_status(order_id, OrderStatus.DELIVERED, "exchanged")
        difference = _difference(self._swaps(order, item_ids, new_item_ids))
        _require_balance(self._method(order.user_id, payment_method_id), difference)
        return self._store(
            order.but(
                status=OrderStatus.EXCHANGE_REQUESTED,
                exchange_items=tuple(sorted(item_ids)),
                exchange_new_items=tuple(sorted(new_item_ids)),
                exchange_payment_method_id=payment_method_id,
                exchange_price_difference=difference,
            )
        )

    @tool(inline=True)
    def return_delivered_order_items(self, order_id: str, item_ids: list[str], payment_method_id: str) -> Order:
        """Requests the return of items of a delivered order and returns the order. The user must have confirmed it.

        An order can be exchanged or returned only once. The user is told by email how to send the items.

        Args:
            order_id: Such as "#W0000000", with the "#" at the beginning.
            item_ids: The items to return; one that is to be returned twice is named twice.
            payment_method_id: Gets the refund: the method that the order was paid with, or a gift card of the user.
        """
        order = self._in_status(order_id, OrderStatus.DELIVERED, "returned")
        method = self._method(order.user_id, payment_method_id)
        if not isinstance(method, GiftCard) and payment_method_id != order.payment_history[0].payment_method_id:
            raise ToolError("Error: the refund must go to the payment method of the order or to a gift card.")
        _require_items(order, item_ids)
        return self._store(
            order.but(
                status=OrderStatus.RETURN_REQUESTED,
                return_items=tuple(sorted(item_ids)),
                return_payment_method_id=payment_method_id,
            )
        )

    @tool(inline=True)
    def modify_user_address(
        self, user_id: str, address1: str, address2: str, city: str, state: str, country: str, zip: str
    ) -> Customer:
        """Changes the default address of a user and returns the profile. The user must have confirmed it.

        Args:
            user_id: Such as "sara_doe_496".
            address1: The first line, such as "123 Main St".
            address2: The second line, such as "Apt 1", or "".
            city: Such as "San Francisco".
            state: Such as "CA".
            country: Such as "USA".
            zip: Such as "12345".
        """
        address = Address(address1=address1, address2=address2, city=city, state=state, country=country, zip=zip)
        self._users[user_id] = changed = self._user(user_id).but(address=address)
        return changed

    def _store(self, order: Order) -> Order:
        self._orders[order.order_id] = order
        return order

    def _in_status(self, order_id: str, status: OrderStatus, done: str) -> Order:
        order = self._order(order_id)
        if order.status is not status:
            raise ToolError(f"Error: order {order_id} is {order.status}; only {status} orders can be {done}.")
        return order

    def _still_pending(self, order_id: str) -> Order:
        order = self._order(order_id)
        if not order.status.pending:
            raise ToolError(f"Error: order {order_id} is {order.status}; only pending orders can be modified.")
        return order

    def _method(self, user_id: str, payment_method_id: str) -> PaymentMethod:
        found = self._user(user_id).payment_methods.get(payment_method_id)
        if found is None:
            raise ToolError(f"Error: user {user_id} has no payment method {payment_method_id}.")
        return found

    def _charge(self, user_id: str, payment_method_id: str, amount: float) -> None:
        """Takes an amount from a gift card, or adds one that is negative. Cards and accounts are settled elsewhere."""
        user = self._user(user_id)
        method = self._method(user_id, payment_method_id)
        if not isinstance(method, GiftCard):
            return
        charged = method.but(balance=round(method.balance - amount, 2))
        self._users[user_id] = user.but(payment_methods={**user.payment_methods, payment_method_id: charged})

    def _swaps(self, order: Order, item_ids: Sequence[str], new_item_ids: Sequence[str]) -> tuple[Swap, ...]:
        """Which items go, which come. Of several items with one id the first goes first."""
        _require_items(order, item_ids)
        if len(item_ids) != len(new_item_ids):
            raise ToolError(f"Error: {len(item_ids)} items cannot be replaced by {len(new_item_ids)}; name as many.")
        left = list(enumerate(order.items))
        swaps = []
        for item_id, new_item_id in zip(item_ids, new_item_ids, strict=True):
            place, item = next(entry for entry in left if entry[1].item_id == item_id)
            left.remove((place, item))
            variant = self._shop.products[item.product_id].variants.get(new_item_id)
            if variant is None:
                raise ToolError(f"Error: item {new_item_id} is not of the product {item.product_id} ({item.name}).")
            if not variant.available:
                raise ToolError(f"Error: item {new_item_id} is not available.")
            swaps.append(Swap(place, item, variant))
        return tuple(swaps)


def _require_items(order: Order, item_ids: Sequence[str]) -> None:
    there = Counter(item.item_id for item in order.items)
    for item_id, wanted in Counter(item_ids).items():
        if wanted > there[item_id]:
            raise ToolError(f"Error: order {order.order_id} has {there[item_id]} of item {item_id}, not {wanted}.")


def _require_balance(method: PaymentMethod, amount: float) -> None:
    if isinstance(method, GiftCard) and method.balance < amount:
        raise ToolError(f"Error: {method.id} has ${method.balance:.2f} left, which does not cover ${amount:.2f}.")


def _difference(swaps: Sequence[Swap]) -> float:
    """What the new items cost more than the old ones, in dollars and whole cents."""
    return round(sum(swap.new.price - swap.old.price for swap in swaps), 2)


def _refunds(order: Order) -> tuple[Transaction, ...]:
    """What each payment method has paid for the order and not got back."""
    paid: dict[str, float] = {}
    for moved in order.payment_history:
        sign = 1 if moved.transaction_type is TransactionType.PAYMENT else -1
        paid[moved.payment_method_id] = paid.get(moved.payment_method_id, 0.0) + sign * moved.amount
    left = {method: round(amount, 2) for method, amount in paid.items()}
    return tuple(_transaction(TransactionType.REFUND, amount, method) for method, amount in left.items() if amount > 0)


def _transaction(kind: TransactionType, amount: float, payment_method_id: str) -> Transaction:
    return Transaction(transaction_type=kind, amount=amount, payment_method_id=payment_method_id)
