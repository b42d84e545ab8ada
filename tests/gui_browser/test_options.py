"""What a page and a pool are made with is checked when it is said."""

from __future__ import annotations

import pytest

from agentenv.errors import ConfigError
from agentenv_gui.browser.options import PageOptions
from agentenv_gui.browser.pool import PoolOptions
from agentenv_gui.seen import Size


@pytest.mark.parametrize("host", ["http://a.example", "a b", "", "a.example/path", "a;b", "<-loopback>", "*"])
def test_what_is_no_host_cannot_be_allowed(host: str) -> None:
    with pytest.raises(ConfigError, match="a page may reach"):
        PageOptions(reachable=(host,))


@pytest.mark.parametrize("options", [{"size": Size(0, 5)}, {"scale": 0.0}, {"scale": float("nan")}, {"unix": -1.0}])
def test_a_page_that_cannot_be_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        PageOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"pages": 0}, {"memory_bytes": -1}, {"look_seconds": 0.0}, {"wait_seconds": 0.0}])
def test_a_pool_of_nothing_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="above zero"):
        PoolOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["example.com", "*.example.com", "127.0.0.1:8000", "[::1]:80", "localhost"])
def test_hosts_may_be_named_in_several_ways(host: str) -> None:
    assert host in str(PageOptions(reachable=(host,)).context["proxyBypassList"])
