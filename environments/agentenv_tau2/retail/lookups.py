"""The tools of the service desk that change nothing."""

from __future__ import annotations

import json

from agentenv.tools import ToolError, tool
from agentenv_tau2.retail.arithmetic import evaluate
from agentenv_tau2.retail.records import Customer, Order, Product, Shop, Variant
from agentenv_tau2.tables import Table
from agentenv_tau2.world import World


class Lookups(World):
    """A shop of one episode, and what its service desk can find out.

    Args:
        shop: the records to begin with.
    """

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._users = Table(Customer, shop.users)
        self._orders = Table(Order, shop.orders)
        super().__init__(shop.digest, {"users": self._users, "orders": self._orders})

    @tool(inline=True)
    def find_user_id_by_email(self, email: str) -> str:
        """Finds a user by email address and returns the user id.

        Args:
            email: Such as "something@example.com".
        """
        wanted = email.strip().casefold()
        for user in self._users.values():
            if user.email.casefold() == wanted:
                return user.user_id
        raise ToolError(f"Error: no user has the email address {email}.")

    @tool(inline=True)
    def find_user_id_by_name_zip(self, first_name: str, last_name: str, zip: str) -> str:
        """Finds a user by name and zip code and returns the user id. For users who do not remember their email.

        Args:
            first_name: Such as "John".
            last_name: Such as "Doe".
            zip: The zip code of the default address, such as "12345".
        """
        wanted = first_name.casefold(), last_name.casefold(), zip
        for user in self._users.values():
            if (user.name.first_name.casefold(), user.name.last_name.casefold(), user.address.zip) == wanted:
                return user.user_id
        raise ToolError(f"Error: there is no user {first_name} {last_name} with the zip code {zip}.")

    @tool(inline=True)
    def get_user_details(self, user_id: str) -> Customer:
        """Returns a user's profile: name, addresses, payment methods and order ids.

        Args:
            user_id: Such as "sara_doe_496".
        """
        return self._user(user_id)

    @tool(inline=True)
    def get_order_details(self, order_id: str) -> Order:
        """Returns an order: its status, items, address, fulfillments and payments.

        Args:
            order_id: Such as "#W0000000", with the "#" at the beginning.
        """
        return self._order(order_id)

    @tool(inline=True)
    def get_product_details(self, product_id: str) -> Product:
        """Returns a product with all its items: their options, prices, and whether they are available.

        Args:
            product_id: Such as "6086499569". It is not the id of an item.
        """
        found = self._shop.products.get(product_id)
        if found is None:
            raise ToolError(f"Error: there is no product {product_id}.")
        return found

    @tool(inline=True)
    def get_item_details(self, item_id: str) -> Variant:
        """Returns an item: its options, its price, and whether it is available.

        Args:
            item_id: Such as "1008292230". It is not the id of a product.
        """
        found = self._shop.variants.get(item_id)
        if found is None:
            raise ToolError(f"Error: there is no item {item_id}.")
        return found

    @tool(inline=True)
    def list_all_product_types(self) -> str:
        """Lists the names of all products with their product ids."""
        return json.dumps(
            {product.name: product.product_id for product in self._shop.products.values()}, sort_keys=True
        )

    @tool(inline=True)
    def calculate(self, expression: str) -> str:
        """Calculates an expression and returns the result, rounded to two decimals.

        Args:
            expression: Numbers with +, -, *, / and brackets, such as "2 * (3.5 + 1)".
        """
        try:
            return str(round(evaluate(expression), 2))
        except ValueError as problem:
            raise ToolError(f"Error: {problem}.") from problem

    @tool(inline=True)
    def transfer_to_human_agents(self, summary: str) -> str:
        """Hands the user over to a human agent. Only when asked to, or for what the policy or the tools do not allow.

        Args:
            summary: What the user wants, in one or two sentences.
        """
        return "Transfer successful"

    def _user(self, user_id: str) -> Customer:
        found = self._users.get(user_id)
        if found is None:
            raise ToolError(f"Error: there is no user {user_id}.")
        return found

    def _order(self, order_id: str) -> Order:
        found = self._orders.get(order_id)
        if found is None:
            raise ToolError(f'Error: there is no order {order_id}. Order ids look like "#W0000000".')
        return found
