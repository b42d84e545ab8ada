"""What other packages announce through entry points, by name: a policy, a sandbox backend.

A plugin's import is a stranger's code: whatever it raises becomes one error that names the plugin, and where a package
is missing, the extra that brings it.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from agentenv.errors import AgentenvError, ConfigError, MissingExtraError, RegistryError, nearest

_DISTRIBUTION = "agentenv-rl"


@dataclass(frozen=True, slots=True)
class Plugins:
    """The plugins of one entry-point group.

    Attributes:
        group: of the entry points. noun, nouns: what one of them is called in a message, and several.
    """

    group: str
    noun: str
    nouns: str

    def names(self) -> list[str]:
        """All of them, sorted. Nothing is imported for it."""
        return sorted(self._found())

    def load(self, name: str) -> Callable[..., Any]:
        """What the plugin of this name names.

        Raises:
            RegistryError: there is none (the message holds the nearest), or it cannot be imported.
            MissingExtraError: an optional package is not installed.
        """
        plugin = self._named(name)
        factory: Callable[..., Any] = self._guarded(plugin, plugin.load)
        return factory

    def make(self, name: str, *arguments: Any, **options: Any) -> Any:
        """What the plugin of this name makes of these.

        Raises:
            RegistryError, MissingExtraError: as `load`.
            ConfigError: an option that it does not take.
        """
        factory = self.load(name)
        self._check_options(name, factory, options, given=len(arguments))
        try:
            return factory(*arguments, **options)
        except ModuleNotFoundError as error:
            raise self._missing(self._named(name), error) from error

    def describe(self, name: str) -> str:
        """The first line of what the plugin says of itself, or its module's where it is loaded lazily.

        Only the module the plugin names is imported, so that a list does not wait for torch. Raises what `load` raises.
        """
        plugin = self._named(name)
        module = self._guarded(plugin, lambda: importlib.import_module(plugin.module))
        return (inspect.getdoc(vars(module).get(plugin.attr, module)) or "").partition("\n")[0]

    def _found(self) -> dict[str, EntryPoint]:
        return {plugin.name: plugin for plugin in entry_points(group=self.group)}

    def _named(self, name: str) -> EntryPoint:
        found = self._found()
        if name not in found:
            known = f" The {self.nouns} are: {', '.join(sorted(found)) or 'none'}."
            raise RegistryError(f"there is no {self.noun} {name!r}.{nearest(name, found) or known}")
        return found[name]

    def _guarded(self, plugin: EntryPoint, load: Callable[[], Any]) -> Any:
        try:
            return load()
        except ModuleNotFoundError as error:
            raise self._missing(plugin, error) from error
        except AgentenvError:
            raise
        except Exception as error:
            raise RegistryError(
                f"the {self.noun} {plugin.name!r} cannot be loaded from {plugin.value}: {type(error).__name__}: {error}"
            ) from error

    def _check_options(self, name: str, factory: Callable[..., Any], options: dict[str, Any], *, given: int) -> None:
        parameters = inspect.signature(factory).parameters.values()
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return
        known = [parameter.name for parameter in parameters][given:]
        for option in options:
            if option not in known:
                hint = nearest(option, known) or f" Its options are: {', '.join(known) or 'none'}."
                raise ConfigError(f"the {self.noun} {name!r} has no option {option!r}.{hint}")

    def _missing(self, plugin: EntryPoint, error: ModuleNotFoundError) -> AgentenvError:
        """The error for a module that is not installed; the package's metadata says which extra brings it."""
        module = (error.name or "").partition(".")[0]
        if plugin.dist is not None:
            found = [match for line in plugin.dist.requires or () if (match := _OPTIONAL.match(line))]
            sizes = Counter(match[2] for match in found)
            extras = [match[2] for match in found if _normal(match[1]) == _normal(module)]
            if extras:
                extra = min(extras, key=lambda name: (sizes[name], name))  # not `all` or `dev`, which bring it too
                if plugin.dist.name == _DISTRIBUTION:
                    return MissingExtraError(f"the {self.noun} {plugin.name!r}", extra)
                return ConfigError(f"the {self.noun} {plugin.name!r} needs: pip install '{plugin.dist.name}[{extra}]'")
        return RegistryError(f"the {self.noun} {plugin.name!r} cannot be loaded from {plugin.value}: {error}")


_OPTIONAL = re.compile(r"^([\w.-]+).*\bextra\s*==\s*['\"]([\w-]+)['\"]")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
