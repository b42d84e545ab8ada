"""Addresses that servers listen on: which are this machine's alone, and how they look in a URL."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Whether a name or address is this machine's own and reachable from nowhere else.

    >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
    (True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def url_of(host: str, port: int) -> str:
    """Where a server that listens there is found.

    >>> url_of("::1", 8200)
    'http://[::1]:8200'
    """
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def strange_page(listening: str, asked: str, origin: str | None) -> str | None:
    """Why a request may be that of a web page which has no business here; `None` for any other.

    Args:
        listening: the address the server listens on. asked: the request's `Host`. origin: its `Origin`, if any.
    """
    if origin is not None and urlsplit(origin).netloc != asked:
        return f"a page of {origin[:100]} may not use this server"
    # A name of somebody else's may lead to this machine too, and a page of that name would be of the same origin.
    if is_loopback(listening) and not is_loopback(urlsplit(f"//{asked}").hostname or ""):
        return f"this server is not known as {asked[:100]}"
    return None
