"""The arguments of a tool call: from the text a model wrote to values that fit the tool's schema.

Whatever is put right on the way is said, so that it can be counted: a model that needs it is not as good as one that
does not.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pydantic

from agentenv.errors import AgentenvError, MissingExtraError

if TYPE_CHECKING:
    import jsonschema_rs


class ArgumentsError(AgentenvError):
    """Arguments that do not fit the tool's schema; the message is for the model."""


class NotJSONError(ArgumentsError):
    """Arguments that cannot be read as JSON; the message is for the model."""


class SchemaError(AgentenvError):
    """A schema that no arguments can be checked against."""


class Repair(StrEnum):
    """What was put right.

    `COERCED`: values of another type than the schema's that can mean only one thing, such as "3" for a number.
    `NULL`: an optional argument that was given as null, where it should have been left out.
    `ENCODED_TWICE`: the object as a text in JSON. `PYTHON`: the object as Python would write it.
    """

    COERCED = "coerced"
    NULL = "null"
    ENCODED_TWICE = "encoded_twice"
    PYTHON = "python"


class Arguments(NamedTuple):
    """Keyword arguments for a tool's function, and what had to be put right to get them."""

    values: dict[str, Any]
    repairs: tuple[Repair, ...] = ()


class ArgumentsReader(Protocol):
    """Checks decoded arguments against a tool's schema."""

    def read(self, raw: object) -> Arguments:
        """The arguments as values. Raises `ArgumentsError`, which says what is wrong with them."""
        ...


class ModelReader:
    """Arguments that a pydantic model describes. Types that can mean only one thing are coerced, and that is told."""

    def __init__(self, model: type[pydantic.BaseModel]) -> None:
        self._model = model
        self._names = tuple(model.model_fields)

    def read(self, raw: object) -> Arguments:
        repairs: tuple[Repair, ...] = ()
        try:
            found = self._model.model_validate_json(json.dumps(raw), strict=True)
        except pydantic.ValidationError:
            repairs = (Repair.COERCED,)
            try:
                found = self._model.model_validate(raw)
            except pydantic.ValidationError as problem:
                raise ArgumentsError(_explain(problem)) from None
        return Arguments({name: getattr(found, name) for name in self._names}, repairs)


class SchemaReader:
    """Arguments that a JSON schema describes, which are passed on as they are; a null that means nothing is left out.

    Keywords that are not known are not heeded, as JSON Schema asks for. References outside of the schema are refused.

    Raises:
        SchemaError: the schema itself is none. MissingExtraError: the extra `tools` is not installed.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._validator = _validator(schema)

    def read(self, raw: object) -> Arguments:
        if not isinstance(raw, dict):
            raise ArgumentsError(f"they must be an object, got {type(raw).__name__}")
        if self._validator.is_valid(raw):
            return Arguments(raw)
        given = {name: value for name, value in raw.items() if value is not None}
        if len(given) < len(raw) and self._validator.is_valid(given):
            return Arguments(given, (Repair.NULL,))
        raise ArgumentsError("; ".join(_said(error) for error in self._validator.iter_errors(raw)))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


_STRICT = json.JSONDecoder(parse_constant=_refuse_constant)
"""Reads JSON, and not what Python takes for it besides: NaN and the infinities."""


def decode(text: str, *, repair: bool = False) -> tuple[object, tuple[Repair, ...]]:
    """What the text of a call's arguments says: strict JSON, or with `repair` also two ways in which models miss it.

    >>> decode("{'a': True}", repair=True)
    ({'a': True}, (<Repair.PYTHON: 'python'>,))

    Raises:
        NotJSONError: it cannot be read.
    """
    try:
        raw = _STRICT.decode(text or "{}")
    except (ValueError, RecursionError) as problem:
        found = _as_python(text) if repair else None
        if found is None:
            raise NotJSONError(f"the arguments are not valid JSON: {problem}") from None
        return found, (Repair.PYTHON,)
    if repair and isinstance(raw, str):
        try:
            inner = _STRICT.decode(raw)
        except (ValueError, RecursionError):
            return raw, ()
        if isinstance(inner, dict):
            return inner, (Repair.ENCODED_TWICE,)
    return raw, ()


_LONGEST_LITERAL = 10_000
"""Characters; Python's parser takes what is longer, and much of what is nested deeply, badly."""


def _as_python(text: str) -> dict[str, Any] | None:
    """An object that is written as Python would."""
    if len(text) > _LONGEST_LITERAL:
        return None
    try:
        found = ast.literal_eval(text)
        json.dumps(found, allow_nan=False)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return found if isinstance(found, dict) and all(isinstance(name, str) for name in found) else None


def _validator(schema: Mapping[str, Any]) -> jsonschema_rs.Validator:
    try:
        import jsonschema_rs
    except ImportError:
        raise MissingExtraError("a tool that is described by a JSON schema", "tools") from None
    try:
        return jsonschema_rs.validator_for(dict(schema), offline=True)
    except (ValueError, jsonschema_rs.ReferencingError) as problem:
        raise SchemaError(f"the schema of its arguments is none: {problem}") from None


def _said(error: jsonschema_rs.ValidationError) -> str:
    where = ".".join(str(step) for step in error.instance_path)
    message = error.message if len(error.message) < 300 else error.message[:299] + "…"
    return f"{where}: {message}" if where else message


def _explain(problem: pydantic.ValidationError) -> str:
    lines = []
    for detail in problem.errors(include_url=False, include_context=False, include_input=False):
        where = ".".join(str(step) for step in detail["loc"])
        lines.append(f"{where}: {detail['msg']}" if where else str(detail["msg"]))
    return "; ".join(lines)
