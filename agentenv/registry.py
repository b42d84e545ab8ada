"""Versioned ids for environments, as in Gymnasium: `[namespace/]Name-vN`, and specifications that are plain data.

    register(EnvSpec(id="riddles-v0", entry_point="my_package.riddles:Riddles"))
    env = make("riddles-v0")
    env = make("path/to/riddles.py:Riddles")
    env = make("http://127.0.0.1:8100")          # an environment server

Packages announce their environments through the entry-point group `agentenv.environments`: each entry names an
iterable of `EnvSpec` or a function that returns one. An entry point named like a namespace (or like the id without
its version) is loaded alone when an id asks for it, so that one plugin's imports never slow another's start.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pydantic

from agentenv.env import Env, SyncEnv
from agentenv.errors import AgentenvError, MissingExtraError, RegistryError, nearest
from agentenv.wrappers import Limited, as_async

GROUP = "agentenv.environments"
_ID = re.compile(r"^(?:(?P<namespace>[\w.-]+)/)?(?P<name>[\w.:-]+?)-v(?P<version>\d+)$")
_FILE = re.compile(r"^(?P<path>.+\.py)(?::(?P<attribute>\w+))?$")
_URL = re.compile(r"^https?://\S+$")
_SPEC_OF_URL = "agentenv.gateway.environments.remote_tasks:remote_spec"
"""Who asks an environment server what it serves; by name, because that room is above this one."""

Factory = Callable[..., Env | SyncEnv]


class WrapperSpec(pydantic.BaseModel, frozen=True, extra="forbid"):
    """A wrapper by entry point; it is called with the environment and `kwargs`."""

    entry_point: str
    kwargs: dict[str, pydantic.JsonValue] = {}


class EnvSpec(pydantic.BaseModel, frozen=True, extra="forbid"):
    """An environment as data: everything needed to make it, and what it promises.

    Attributes:
        id: `[namespace/]Name-vN`; for a file, `path.py:Class`; for an environment server, its URL.
        entry_point: `module:attribute` or `path.py:Class`; called with `kwargs`.
        max_turns: the episode is truncated after this many turns; `None` for no limit.
        reward_range: bounds of an episode's return, checked by `agentenv check`.
        deterministic: the same task, seed and actions give the same observations and rewards.
        extra: the optional dependency group it needs, named when an import fails.

    >>> EnvSpec.model_validate_json(EnvSpec(id="a-v0", entry_point="a:A").model_dump_json()).id
    'a-v0'
    """

    id: str
    entry_point: str
    kwargs: dict[str, pydantic.JsonValue] = {}
    description: str = ""
    max_turns: int | None = pydantic.Field(default=None, ge=1)
    wrappers: tuple[WrapperSpec, ...] = ()
    reward_range: tuple[float, float] = (0.0, 1.0)
    deterministic: bool = True
    tags: tuple[str, ...] = ()
    extra: str | None = None

    @pydantic.field_validator("id")
    @classmethod
    def _well_formed(cls, value: str) -> str:
        if not any(form.match(value) for form in (_ID, _FILE, _URL)):
            raise ValueError(f"{value!r} is not of the form [namespace/]Name-vN, for example 'math/gsm8k-v0'")
        return value

    def with_kwargs(self, **kwargs: Any) -> EnvSpec:
        """The same environment with some of its keyword arguments replaced."""
        return self.model_copy(update={"kwargs": {**self.kwargs, **kwargs}})

    def _hint(self) -> str:
        """Which arguments the environment takes, and which of them was perhaps meant."""
        try:
            known = list(inspect.signature(load_entry_point(self)).parameters)
        except (TypeError, ValueError):
            return ""
        hints = [nearest(name, known) for name in self.kwargs if name not in known]
        return "".join(hints) or f" It takes: {', '.join(known) or 'nothing'}."

    def fingerprint(self) -> str:
        """16 hexadecimal digits over the specification and the source file of the environment's class.

        Two runs whose fingerprints differ did not play the same environment.
        """
        digest = hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode())
        try:
            source = inspect.getsourcefile(load_entry_point(self))
        except TypeError:
            source = None
        if source is not None:
            digest.update(Path(source).read_bytes())
        return digest.hexdigest()[:16]

    def make(self) -> Env:
        """A new instance, wrapped as the specification says.

        Raises:
            RegistryError: the class cannot be imported or refuses its arguments.
            MissingExtraError: an optional package is not installed.
        """
        factory = load_entry_point(self)
        try:
            env = factory(**self.kwargs)
        except TypeError as error:
            problem = f"{error}.{self._hint()}"
            raise RegistryError(f"{self.id} cannot be built from {dict(self.kwargs)}: {problem}") from error
        except AgentenvError:
            raise
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            raise RegistryError(f"{self.id} cannot be built from {dict(self.kwargs)}: {problem}") from error
        if not isinstance(env, Env | SyncEnv):
            raise RegistryError(f"{self.id}: {self.entry_point} made a {type(env).__name__}, which is no Env")
        wrapped = as_async(env)
        for wrapper in self.wrappers:
            wrapped = _attribute(wrapper.entry_point)(wrapped, **wrapper.kwargs)
        if self.max_turns is not None:
            wrapped = Limited(wrapped, max_turns=self.max_turns)
        wrapped.spec = self
        return wrapped


class Registry:
    """The environments this process knows. The module's functions use one shared instance."""

    def __init__(self, plugins: Iterable[EntryPoint] | None = None) -> None:
        self._specs: dict[str, EnvSpec] = {}
        self._given = plugins
        self._loaded: set[str] = set()
        self.broken: dict[str, str] = {}
        """Plugins that could not be loaded, and why."""

    def register(self, spec: EnvSpec) -> None:
        """Adds an environment. Registering the very same specification twice is harmless."""
        known = self._specs.get(spec.id)
        if known is not None and known != spec:
            raise RegistryError(f"{spec.id} is already registered by {known.entry_point}; give yours a new version")
        self._specs[spec.id] = spec

    def spec(self, id: str) -> EnvSpec:
        """The specification of an id, of `path.py:Class`, or of what an environment server's URL leads to.

        Raises:
            RegistryError: nothing of that name; the message holds the nearest ids and versions.
            ServerUnreachable, ConfigError: no environment server answers at that URL.
        """
        if _URL.match(id):
            found: EnvSpec = _attribute(_SPEC_OF_URL)(id)
            return found
        if file := _FILE.match(id):
            return _file_spec(Path(file["path"]), file["attribute"])
        if id not in self._specs:
            self._load_plugin_of(id)
        if id not in self._specs:
            self._load_plugins()
        if id not in self._specs:
            raise RegistryError(self._unknown(id))
        return self._specs[id]

    def list(self) -> list[EnvSpec]:
        """Every known environment, by id. Plugins that fail to load are left out and named in `broken`."""
        self._load_plugins()
        return [self._specs[id] for id in sorted(self._specs)]

    def _plugins(self) -> Iterable[EntryPoint]:
        return entry_points(group=GROUP) if self._given is None else self._given

    def _load_plugin_of(self, id: str) -> None:
        parts = _ID.match(id)
        if parts is not None:
            self._load_plugins(only=parts["namespace"] or parts["name"])

    def _load_plugins(self, only: str | None = None) -> None:
        for plugin in self._plugins():
            if plugin.name in self._loaded or only not in (None, plugin.name):
                continue
            self._loaded.add(plugin.name)
            try:
                found = plugin.load()
                for spec in found() if callable(found) else found:
                    self.register(spec)
            except Exception as error:
                self.broken[plugin.name] = f"{type(error).__name__}: {error}"

    def _unknown(self, id: str) -> str:
        parts = _ID.match(id)
        if parts is not None:
            stem = id[: id.rindex("-v")]
            versions = sorted(known for known in self._specs if known[: known.rindex("-v")] == stem)
            if versions:
                return f"there is no {id!r}; known versions: {', '.join(versions)}"
        problem = f"there is no environment {id!r}.{nearest(id, self._specs)}"
        if self.broken:
            reasons = "; ".join(f"{name} ({why})" for name, why in sorted(self.broken.items()))
            problem += f" Plugins that failed to load: {reasons}."
        return problem + " See `agentenv list`."


REGISTRY = Registry()


def register(spec: EnvSpec) -> None:
    """Adds an environment to this process's registry."""
    REGISTRY.register(spec)


def spec(id: str) -> EnvSpec:
    """The specification of an id, of `path.py:Class`, or of the URL of an environment server."""
    return REGISTRY.spec(id)


def make(id: str | EnvSpec, **kwargs: Any) -> Env:
    """A new environment by id, file or specification; `kwargs` replace those of the specification.

    >>> env = make("calculator-v0", level=2)  # doctest: +SKIP
    """
    found = id if isinstance(id, EnvSpec) else spec(id)
    return (found.with_kwargs(**kwargs) if kwargs else found).make()


def list_environments() -> list[EnvSpec]:
    """Every registered environment, by id."""
    return REGISTRY.list()


def load_entry_point(spec: EnvSpec) -> Factory:
    """The class or function behind a specification."""
    try:
        factory: Factory = _attribute(spec.entry_point)
        return factory
    except ModuleNotFoundError as error:
        if spec.extra is not None:
            raise MissingExtraError(spec.id, spec.extra) from error
        raise RegistryError(f"{spec.id}: cannot import {spec.entry_point}: {error}") from error
    except AgentenvError:
        raise
    except Exception as error:
        raise RegistryError(
            f"{spec.id}: importing {spec.entry_point} raised {type(error).__name__}: {error}"
        ) from error


@functools.lru_cache(maxsize=1024)
def _attribute(entry_point: str) -> Any:
    if file := _FILE.match(entry_point):
        return getattr(_import_file(Path(file["path"])), file["attribute"])
    module, _, attribute = entry_point.partition(":")
    if not attribute:
        raise RegistryError(f"{entry_point!r} is not of the form module:attribute")
    found: Any = importlib.import_module(module)
    for step in attribute.split("."):
        found = getattr(found, step)
    return found


@functools.lru_cache(maxsize=256)
def _import_file(path: Path) -> Any:
    if not path.is_file():
        raise RegistryError(f"there is no file {path}")
    name = f"agentenv_file_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    module_spec = importlib.util.spec_from_file_location(name, path)
    if module_spec is None or module_spec.loader is None:
        raise RegistryError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[name] = module  # dataclasses and pickling look their module up by name
    try:
        module_spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _file_spec(path: Path, attribute: str | None) -> EnvSpec:
    try:
        module = _import_file(path)
    except AgentenvError:
        raise
    except Exception as error:
        raise RegistryError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    classes = [
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, Env | SyncEnv) and value.__module__ == module.__name__
    ]
    if attribute is None and len(classes) == 1:
        attribute = classes[0]
    if attribute is None or not hasattr(module, attribute):
        wanted = f"has no {attribute!r}" if attribute else "must be given as file.py:Class"
        raise RegistryError(f"{path} {wanted}; environments in it: {', '.join(classes) or 'none'}")
    entry_point = f"{path}:{attribute}"
    factory = getattr(module, attribute)
    declared = {name: getattr(factory, name) for name in _DECLARABLE if hasattr(factory, name)}
    return EnvSpec(id=entry_point, entry_point=entry_point, **declared)


_DECLARABLE = ("max_turns", "reward_range", "deterministic")
"""What a class in a plain file may say of itself as class attributes, having no registration to say it in."""
