"""Policies by name: `make_policy("openai:http://127.0.0.1:8000/v1", model="qwen")`.

A package announces a policy through the entry-point group `agentenv.policies`; each entry names a function
`make_policy(argument: str | None, **options) -> Policy`, where `argument` is what follows the first colon.
"""

from __future__ import annotations

from typing import Any

from agentenv.errors import RegistryError
from agentenv.plugins import Plugins
from agentenv.policy.contract import Policy

POLICIES = Plugins("agentenv.policies", "policy", "policies")


def list_policies() -> list[str]:
    """The names that `make_policy` knows, sorted. Nothing is imported for it."""
    return POLICIES.names()


def make_policy(name: str, **options: Any) -> Policy:
    """A policy by `NAME` or `NAME:ARGUMENT`.

    >>> make_policy("noop").name
    'noop'

    Raises:
        RegistryError: no such policy (the message holds the nearest), or its plugin cannot be imported.
        MissingExtraError: an optional package is not installed.
        ConfigError: an argument or option that the policy does not take.
    """
    stem, colon, argument = name.partition(":")
    policy = POLICIES.make(stem, argument if colon else None, **options)
    if not isinstance(policy, Policy):
        raise RegistryError(f"the policy plugin {stem!r} made a {type(policy).__name__}, which is no Policy")
    return policy


def describe_policy(name: str) -> str:
    """The first line of what the policy's factory says of itself. Raises what `make_policy` raises."""
    return POLICIES.describe(name)
