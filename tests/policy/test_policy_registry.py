from __future__ import annotations

from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Any

import pytest

from agentenv import plugins
from agentenv.errors import ConfigError, MissingExtraError, RegistryError
from agentenv.policy.registry import describe_policy, list_policies, make_policy


def test_the_shipped_policies_are_listed() -> None:
    assert {"openai", "tiny", "human", "oracle", "noop", "random"} <= set(list_policies())


def test_a_policy_is_made_by_name_with_options() -> None:
    assert make_policy("random", call_probability=0.5).name == "random"


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(RegistryError, match=r"no policy 'oracel'\. Did you mean 'oracle'"):
        make_policy("oracel")


def test_an_unknown_option_gets_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no option 'call_probabilty'\. Did you mean 'call_probability'"):
        make_policy("random", call_probabilty=0.5)


def test_an_argument_where_none_is_taken_is_refused() -> None:
    with pytest.raises(ConfigError, match="takes no argument, got 'x'"):
        make_policy("noop:x")


class Plugin:
    """An entry point whose module cannot be imported, from a package with given requirements."""

    name, value = "broken", "broken_package:make_policy"

    def __init__(self, distribution: str) -> None:
        requires = ["aiohttp>=3", *(f'{package}; extra == "all"' for package in ("mathlib", "torch>=2.6"))]
        requires.append('torch>=2.6; extra == "train"')
        self.dist = SimpleNamespace(name=distribution, requires=requires)

    def load(self) -> Any:
        raise ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")


@pytest.mark.parametrize(
    ("distribution", "kind", "line"),
    [
        ("agentenv-rl", MissingExtraError, r"pip install 'agentenv-rl\[train\]'"),
        ("strangers-package", ConfigError, r"pip install 'strangers-package\[train\]'"),
    ],
)
def test_a_missing_package_names_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, distribution: str, kind: type[Exception], line: str
) -> None:
    monkeypatch.setattr(plugins, "entry_points", lambda group: [Plugin(distribution)])
    with pytest.raises(kind, match=line):
        make_policy("broken")


def test_a_plugin_that_makes_something_else_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = EntryPoint("strange", "types:SimpleNamespace", "agentenv.policies")
    monkeypatch.setattr(EntryPoint, "load", lambda self: lambda argument: 3)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [plugin])
    with pytest.raises(RegistryError, match="made a int, which is no Policy"):
        make_policy("strange")


def test_a_policy_is_described_without_building_it() -> None:
    assert describe_policy("oracle").startswith("Plays what the environment's own oracle says")
    assert "OpenAI-compatible URL" in describe_policy("openai")
    assert "embedded policy" in describe_policy("tiny")
