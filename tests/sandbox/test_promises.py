"""A host says what it can promise, and asking for more is an error, never a weaker sandbox."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from agentenv.cli import run
from agentenv.errors import ConfigError, RegistryError
from agentenv.sandbox import Isolation, Limits, Network, Promise
from agentenv.sandbox.registry import list_backends, make_backend
from agentenv_local import LocalSandboxes
from agentenv_local.jail import landlock, syscalls
from tests.conftest import require


async def test_this_host_promises_everything_or_says_what_is_missing() -> None:
    promises = await LocalSandboxes().probe()
    assert set(promises.kept) | set(promises.broken) == set(Promise)
    assert not set(promises.kept) & set(promises.broken)
    assert promises.isolation is Isolation.NAMESPACES
    assert (Promise.FILE_RULES in promises.kept) == (landlock.version() > 0)


async def test_a_kernel_without_file_rules_must_be_accepted_in_so_many_words(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = LocalSandboxes._heard

    def without_landlock(self: LocalSandboxes, message: dict[str, Any]) -> None:
        heard(self, message | {"landlock": 0} if "landlock" in message else message)

    monkeypatch.setattr(LocalSandboxes, "_heard", without_landlock)
    with pytest.raises(ConfigError, match=r"has no Landlock.*without=\[Promise.FILE_RULES\]"):
        async with LocalSandboxes():
            pass
    async with LocalSandboxes(without=[Promise.FILE_RULES]) as sandboxes, sandboxes.sandbox() as sandbox:
        assert (await sandbox.exec("true")).ok


async def test_a_network_is_refused_rather_than_left_out() -> None:
    async with LocalSandboxes(warm=0) as sandboxes:
        with pytest.raises(ConfigError, match="reach no network"):
            await sandboxes.create(Limits(network=Network.HOST))
        with pytest.raises(ConfigError, match="reach no network"):
            await sandboxes.create(Limits(network=Network.LISTED, reachable=("pypi.org",)))


@pytest.mark.parametrize("target", ["pypi.org", "*.pypi.org", "192.0.2.1", "10.0.0.0/8", "2001:db8::/32"])
def test_what_may_be_reached_is_a_host_an_address_or_a_network(target: str) -> None:
    assert Limits(network=Network.LISTED, reachable=(target,)).reachable == (target,)


@pytest.mark.parametrize(
    "target", ["https://pypi.org", "pypi.org:443", "pypi.org/simple", "10.0.0.1/8", "*", "", "a b.org"]
)
def test_what_is_no_host_is_refused(target: str) -> None:
    with pytest.raises(ConfigError, match="without scheme, port or path - and not"):
        Limits(network=Network.LISTED, reachable=(target,))


@pytest.mark.parametrize(("network", "reachable"), [(Network.LISTED, ()), (Network.NONE, ("pypi.org",))])
def test_a_list_and_the_network_it_is_for_come_together(network: Network, reachable: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="with it, and only with it"):
        Limits(network=network, reachable=reachable)


def test_backends_have_names() -> None:
    assert "local" in list_backends()
    assert isinstance(make_backend("local", warm=1), LocalSandboxes)
    with pytest.raises(RegistryError, match=r"no sandbox backend 'locl'\. Did you mean 'local'"):
        make_backend("locl")
    with pytest.raises(ConfigError, match="no option 'wram'"):
        make_backend("local", wram=1)


def test_the_command_prints_a_table_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sandbox", "probe"]) == 0
    printed = capsys.readouterr()
    assert re.search(r"no network +kept +a network namespace", printed.out)
    assert run(["sandbox", "probe", "local", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["isolation"] == "namespaces"
    assert run(["sandbox", "probe", "--backend.isolation", "restricted", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["isolation"] == "restricted"
    assert run(["sandbox", "probe", "--backend.without", '["disk"]']) == 1
    assert "'disk' is not a valid Promise; there are 'private files'" in capsys.readouterr().err.replace("\n", " ")
    assert run(["list", "sandboxes"]) == 0
    assert "local" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("machine", "headers"),
    [
        ("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
        ("aarch64", "/usr/include/asm-generic/unistd.h"),
    ],
)
def test_system_calls_have_the_kernels_numbers(machine: str, headers: str) -> None:
    require(Path(headers).exists(), f"the kernel's headers at {headers}")
    text = Path(headers).read_text()
    numbers = {name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)}
    for table in (syscalls.REFUSED[machine], syscalls.LOOKED_INTO[machine]):
        known = {name: number for name, number in table.items() if name in numbers}
        assert known == {name: numbers[name] for name in known}
        assert len(known) >= len(table) - 2  # the headers may be older than the newest calls
