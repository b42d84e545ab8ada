"""A shop with a basket, as an MCP server: a real one, made with the SDK. `python shop.py [stdio|http PORT]`."""

from __future__ import annotations

import secrets
import sys
from collections import defaultdict
from typing import Annotated

from mcp.server.mcpserver import Context, Elicit, Image, MCPServer, Resolve
from pydantic import BaseModel

PRICES = {"lamp": 30, "mug": 8, "chair": 120}
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)
server = MCPServer("shop", instructions="A shop.")
baskets: dict[str, list[str]] = defaultdict(list)


@server.tool()
def open_basket() -> dict[str, str]:
    """Begins a visit."""
    return {"basket": secrets.token_hex(8)}


@server.tool()
def close_basket(basket: str) -> str:
    """Ends a visit."""
    return "closed" if baskets.pop(basket, None) is not None else "nothing was in it"


@server.tool()
def price(item: str) -> int:
    """What an item costs.

    Args:
        item: its name
    """
    if item not in PRICES:
        raise ValueError(f"there is no {item}")
    return PRICES[item]


@server.tool()
def put(item: str, basket: str = "") -> dict[str, list[str]]:
    """Puts an item into the basket."""
    baskets[basket].append(item)
    return {"items": baskets[basket]}


@server.tool()
def score(basket: str = "") -> dict[str, float]:
    """What the visit is worth."""
    return {"reward": float(baskets[basket] == ["lamp", "mug"])}


@server.tool()
def picture(item: str) -> Image:
    """A picture of an item."""
    return Image(data=PIXEL, format="png")


class Colour(BaseModel):
    colour: str


async def ask_colour(item: str) -> Elicit[Colour]:
    return Elicit(f"Which colour should the {item} have?", Colour)


@server.tool()
async def paint(item: str, wanted: Annotated[Colour, Resolve(ask_colour)]) -> str:
    """Paints an item in a colour that the user is asked for."""
    return f"a {wanted.colour} {item}"


@server.tool()
async def grow(context: Context) -> str:
    """Gives the shop another tool, and tells."""

    def discount() -> int:
        """What is taken off."""
        return 5

    server.add_tool(discount)
    await context.notify_tools_changed()
    return "grown"


@server.resource("shop://terms")
def terms() -> str:
    """The terms of trade."""
    return "No returns."


@server.prompt()
def greeting() -> str:
    """How a visit begins."""
    return "Welcome to the shop."


if __name__ == "__main__":
    if sys.argv[1:2] == ["http"]:
        server.run("streamable-http", port=int(sys.argv[2]))
    else:
        server.run("stdio")
