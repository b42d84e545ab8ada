"""Policies by name: `make_policy("openai:http://127.0.0.1:8000/v1", model="qwen")`.

A package announces a policy through the entry-point group `agentenv.policies`; each entry names a function
`make_policy(argument: str | None, **options) -> Policy`, where `argument` is what follows the first colon.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections import Counter
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from agentenv.errors import AgentenvError, ConfigError, MissingExtraError, RegistryError, nearest
from agentenv.policy.contract import Policy

GROUP = "agentenv.policies"
_DISTRIBUTION = "agentenv-rl"

PolicyFactory = Callable[..., Policy]


def list_policies() -> list[str]:
    """The names that `make_policy` knows, sorted. Nothing is imported for it."""
    return sorted(_plugins())


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
    plugins = _plugins()
    if stem not in plugins:
        known = f" The policies are: {', '.join(sorted(plugins)) or 'none'}."
        raise RegistryError(f"there is no policy {stem!r}.{nearest(stem, plugins) or known}")
    factory = _load(plugins[stem])
    _check_options(stem, factory, options)
    try:
        policy = factory(argument if colon else None, **options)
    except ModuleNotFoundError as error:
        raise _missing(plugins[stem], error) from error
    if not isinstance(policy, Policy):
        raise RegistryError(f"the policy plugin {stem!r} made a {type(policy).__name__}, which is no Policy")
    return policy


def describe_policy(name: str) -> str:
    """The first line of what the policy's factory says of itself, or its module where the factory is loaded lazily.

    Only the module the plugin names is imported, so that a list does not wait for torch. Raises what `make_policy`
    raises for a plugin that cannot be imported.
    """
    plugin = _plugins()[name]
    module = _guarded(plugin, lambda: importlib.import_module(plugin.module))
    return (inspect.getdoc(vars(module).get(plugin.attr, module)) or "").partition("\n")[0]


def _plugins() -> dict[str, EntryPoint]:
    return {plugin.name: plugin for plugin in entry_points(group=GROUP)}


def _load(plugin: EntryPoint) -> PolicyFactory:
    factory: PolicyFactory = _guarded(plugin, plugin.load)
    return factory


def _guarded(plugin: EntryPoint, load: Callable[[], Any]) -> Any:
    """What `load` returns; whatever a stranger's import raises becomes one error that names the plugin."""
    try:
        return load()
    except ModuleNotFoundError as error:
        raise _missing(plugin, error) from error
    except AgentenvError:
        raise
    except Exception as error:
        raise RegistryError(
            f"the policy {plugin.name!r} cannot be loaded from {plugin.value}: {type(error).__name__}: {error}"
        ) from error


def _check_options(name: str, factory: PolicyFactory, options: dict[str, Any]) -> None:
    parameters = inspect.signature(factory).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    known = [parameter.name for parameter in parameters][1:]
    for option in options:
        if option not in known:
            hint = nearest(option, known) or f" Its options are: {', '.join(known) or 'none'}."
            raise ConfigError(f"the policy {name!r} has no option {option!r}.{hint}")


_OPTIONAL = re.compile(r"^([\w.-]+).*\bextra\s*==\s*['\"]([\w-]+)['\"]")


def _missing(plugin: EntryPoint, error: ModuleNotFoundError) -> AgentenvError:
    """The error for a module that is not installed: names the extra that brings it, as the package's metadata says."""
    module = (error.name or "").partition(".")[0]
    if plugin.dist is not None:
        found = [match for line in plugin.dist.requires or () if (match := _OPTIONAL.match(line))]
        sizes = Counter(match[2] for match in found)
        extras = [match[2] for match in found if _normal(match[1]) == _normal(module)]
        if extras:
            extra = min(extras, key=lambda name: (sizes[name], name))  # not `all` or `dev`, which bring it too
            if plugin.dist.name == _DISTRIBUTION:
                return MissingExtraError(f"the policy {plugin.name!r}", extra)
            return ConfigError(f"the policy {plugin.name!r} needs: pip install '{plugin.dist.name}[{extra}]'")
    return RegistryError(f"the policy {plugin.name!r} cannot be loaded from {plugin.value}: {error}")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
