"""Configuration files: TOML over any pydantic model, small differences on top of a `base`, dotted overrides.

    # fast.toml
    base = "default.toml"        # everything not said here is taken from there
    [learner]
    lr = 1e-3

    load_config(TrainConfig, "fast.toml", ["--learner.clip_low", "0.1", "learner.minibatches=4"])

A key that does not exist is refused with its full dotted path, the file it stands in and the nearest valid one.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import pydantic
from pydantic.fields import FieldInfo

from agentenv.errors import ConfigError

Model = TypeVar("Model", bound=pydantic.BaseModel)
Table = dict[str, Any]
Steps = tuple[str, ...]

COMMAND_LINE = "command line"


def load_config(model: type[Model], path: str | Path | None = None, overrides: Sequence[str] = ()) -> Model:
    """Reads a TOML (or JSON) file and dotted overrides into `model`.

    Args:
        path: the file; `None` for the defaults alone.
        overrides: `--learner.lr 3e-5`, `--learner.lr=3e-5` or `learner.lr=3e-5`; the last one wins. Values are read
            by the type of the field they are for, and lists and tables as TOML.

    Raises:
        ConfigError: every problem found, one per line, with the dotted key, its value and where it stands.
    """
    values: Table = {}
    origins: dict[Steps, str] = {}
    for source, layer in _layers(Path(path)) if path is not None else ():
        _merge(values, layer, source, origins)
    for key, text in parse_overrides(overrides):
        steps = tuple(key.split("."))
        layer = _nested(steps, _typed(_annotation(model, steps), text))
        _merge(values, layer, COMMAND_LINE, origins)
    problems = [
        f"{_where(step, origins)}{'.'.join(step)} is no setting.{_hint(step, known, model)}"
        for step, known in _unknown_keys(model, values)
    ]
    if problems:
        raise ConfigError("\n".join(problems))
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        raise ConfigError("\n".join(_explain(detail, values, origins) for detail in error.errors())) from error


def parse_overrides(arguments: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of dotted key and text.

    >>> parse_overrides(["--learner.lr", "3e-5", "seed=1"])
    [('learner.lr', '3e-5'), ('seed', '1')]
    """
    pairs = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name, equals, text = argument.removeprefix("--").partition("=")
        if not equals and argument.startswith("--") and rest and not rest[0].startswith("--"):
            text, equals = rest.pop(0), "="
        if not equals or not name or not all(name.split(".")):
            raise ConfigError(f"{argument!r} sets nothing; write --dotted.key VALUE or dotted.key=VALUE")
        pairs.append((name, text))
    return pairs


def parse_value(text: str) -> Any:
    """A value without a type to go by: a number, boolean, list or table as TOML has them, otherwise the text itself.

    >>> parse_value("3"), parse_value("[1, 2]"), parse_value("easy")
    (3, [1, 2], 'easy')
    """
    try:
        parsed = tomllib.loads(f"value = {text}")
    except ValueError:
        return text
    return parsed["value"] if parsed.keys() == {"value"} else text


def _layers(path: Path, above: tuple[Path, ...] = ()) -> Iterator[tuple[str, Table]]:
    """(file name, its own values) of a file and everything it is based on, the base first."""
    resolved = path.resolve()
    if resolved in above:
        chain = " → ".join(file.name for file in (*above, resolved))
        raise ConfigError(f"{path}: the files are based on each other in a circle: {chain}")
    values = _read(path)
    base = values.pop("base", None)
    if base is not None:
        if not isinstance(base, str):
            raise ConfigError(f"{path}: base must be the name of one file, got {base!r}")
        yield from _layers(path.parent / base, (*above, resolved))
    yield str(path), values


def _read(path: Path) -> Table:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no UTF-8 text: {error}") from error
    try:
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a configuration is a table, not a {type(values).__name__}")
    return values


def _merge(into: Table, layer: Mapping[str, Any], source: str, origins: dict[Steps, str], at: Steps = ()) -> None:
    """Lays `layer` over `into`: tables are merged key by key, anything else replaces what was there.

    A table that names another `kind` than the one below it begins anew: the old kind's settings are not its own.
    """
    for key, value in layer.items():
        here = (*at, key)
        if isinstance(value, Mapping) and isinstance(into.get(key), dict) and not _other_kind(into[key], value):
            _merge(into[key], value, source, origins, here)
        elif isinstance(value, Mapping):
            into[key] = {}
            origins[here] = source
            _merge(into[key], value, source, origins, here)
        else:
            into[key] = value
            origins[here] = source


def _other_kind(below: Mapping[str, Any], above: Mapping[str, Any]) -> bool:
    return "kind" in above and above["kind"] != below.get("kind")


def _nested(steps: Steps, value: Any) -> Table:
    for step in reversed(steps):
        value = {step: value}
    table: Table = value
    return table


def _fields(model: type[pydantic.BaseModel]) -> dict[str, FieldInfo]:
    """Fields by the key a file uses for them: the alias where there is one."""
    return {
        field.validation_alias if isinstance(field.validation_alias, str) else name: field
        for name, field in model.model_fields.items()
    }


def _members(annotation: Any) -> list[Any]:
    """The alternatives of a type: those of a union, otherwise the type alone; `Annotated` is looked through."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [member for argument in get_args(annotation) for member in _members(argument)]
    return [annotation]


def _models(annotation: Any) -> list[type[pydantic.BaseModel]]:
    return [kind for kind in _members(annotation) if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel)]


def _annotation(model: type[pydantic.BaseModel], steps: Steps) -> Any:
    """The type at a dotted path, `Any` where it cannot be told (inside free-form tables, or at unknown keys)."""
    annotation: Any = model
    for step in steps:
        found = [fields[step] for kind in _models(annotation) if step in (fields := _fields(kind))]
        if not found:
            return Any
        annotation = found[0].annotation
        if found[0].metadata:
            annotation = Annotated[annotation, *found[0].metadata]
    return annotation


def _typed(annotation: Any, text: str) -> Any:
    """An override's text as a value of the field's type; left for the model to refuse where it fits none."""
    if annotation is Any:
        return parse_value(text)
    if text.lower() in ("none", "null") and NoneType in _members(annotation):
        return None
    try:
        return pydantic.TypeAdapter(annotation).validate_strings(text)
    except pydantic.ValidationError:
        return parse_value(text)


def _unknown_keys(annotation: Any, value: Any, at: Steps = ()) -> Iterator[tuple[Steps, list[str]]]:
    """(dotted path, valid keys beside it) of every key that no field has."""
    if isinstance(value, Mapping) and (models := _models(annotation)):
        if any(model.model_config.get("extra") == "allow" for model in models):
            return
        fields = {key: field for model in models for key, field in _fields(model).items()}
        for key, inner in value.items():
            if key in fields:
                yield from _unknown_keys(fields[key].annotation, inner, (*at, key))
            else:
                yield (*at, key), list(fields)
        return
    for member in _members(annotation):
        arguments = get_args(member)
        if isinstance(value, Mapping) and get_origin(member) in (dict, Mapping) and len(arguments) == 2:
            for key, inner in value.items():
                yield from _unknown_keys(arguments[1], inner, (*at, str(key)))
        elif isinstance(value, list) and get_origin(member) in (list, tuple, Sequence) and arguments:
            for index, inner in enumerate(value):
                yield from _unknown_keys(arguments[0], inner, (*at, str(index)))


def _paths(annotation: Any, at: Steps = ()) -> Iterator[str]:
    """Every dotted path that can be set."""
    for model in _models(annotation):
        for key, field in _fields(model).items():
            yield ".".join((*at, key))
            if len(at) < 8:  # a model may hold itself
                yield from _paths(field.annotation, (*at, key))


def _hint(path: Steps, known: Sequence[str], model: type[pydantic.BaseModel]) -> str:
    """The nearest valid keys: beside the wrong one first, then one of the same name elsewhere, then anywhere."""
    beside = [".".join((*path[:-1], key)) for key in difflib.get_close_matches(path[-1], known, 2, 0.6)]
    everywhere = list(dict.fromkeys(_paths(model)))
    namesakes = [name for name in everywhere if name.split(".")[-1] == path[-1]][:2]
    near = beside or namesakes or difflib.get_close_matches(".".join(path), everywhere, 1, 0.6)
    if near:
        return " Did you mean " + " or ".join(repr(name) for name in near) + "?"
    return f" Valid here: {', '.join(sorted(known))}."


def _where(path: Steps, origins: Mapping[Steps, str]) -> str:
    """The source of a value, or of the nearest value around it, as a prefix for a message."""
    for length in range(len(path), 0, -1):
        if path[:length] in origins:
            return f"{origins[path[:length]]}: "
    return ""


def _explain(detail: Any, values: Table, origins: Mapping[Steps, str]) -> str:
    """One line for one of pydantic's errors. Its location names union members too; those are left out."""
    path: list[str] = []
    here: Any = values
    for step in detail["loc"]:
        in_table = isinstance(here, Mapping) and step in here
        in_list = isinstance(here, list | tuple) and isinstance(step, int) and step < len(here)
        if in_table or in_list:
            here = here[step]
            path.append(str(step))
        elif detail["type"] == "missing" and step == detail["loc"][-1]:
            path.append(str(step))
    where, dotted = _where(tuple(path), origins), ".".join(path)
    message = str(detail["msg"]).removeprefix("Value error, ")
    if detail["type"] in ("tuple_type", "list_type"):
        message = f"a list is wanted, such as [{json.dumps(here)}]"
    if detail["type"] == "missing":
        return f"{where}{dotted} is missing"
    if detail["type"] == "union_tag_invalid":
        kinds = [kind.strip("'") for kind in detail["ctx"]["expected_tags"].split(", ")]
        near = difflib.get_close_matches(detail["ctx"]["tag"], kinds, 2, 0.6)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are {', '.join(kinds)}"
        return f"{where}{dotted}.kind = {detail['ctx']['tag']!r} is none: {hint}"
    if isinstance(here, Mapping):
        return f"{where}{dotted + ': ' if dotted else ''}{message}"
    return f"{where}{dotted} = {here!r:.100}: {message[:1].lower()}{message[1:]}"
