"""JSON on this wire: written once per reply, and always something any JSON reader takes.

orjson does it where it is installed (extra `serve`): writing and reading is most of what a step costs otherwise.
"""

from __future__ import annotations

import json

from agentenv.errors import EnvironmentFailure
from agentenv.gateway.environments.refusals import Code, Refusal
from agentenv.gateway.wirejson import loads
from agentenv.messages import Wire
from agentenv.rollout.codec import to_json

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]
else:
    # Dataclasses and dates are left to the careful way, which writes them as the journal does.
    _OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def encode(value: Wire) -> bytes:
    """A JSON text without line breaks.

    Infinities and NaN are written as null, and what a diagnostic holds that JSON has no word for as the nearest JSON
    value; anywhere else that is refused.

    Raises:
        EnvironmentFailure: the rest of the value cannot be written.
    """
    if orjson is not None:
        try:
            return orjson.dumps(value, option=_OPTIONS)
        except TypeError:
            pass
    try:
        return _dumps(value)
    except (TypeError, ValueError, RecursionError):
        return _encode_carefully(value)


def decode(text: str | bytes) -> Wire:
    """A JSON object.

    Raises:
        Refusal: the text is anything else.
    """
    try:
        value = loads(text, exact=True)
    except ValueError as error:
        raise Refusal(Code.MALFORMED, f"the request is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise Refusal(Code.MALFORMED, f"the request must be a JSON object, got {text[:80]!r}")
    return value


def _dumps(value: Wire) -> bytes:
    # ASCII, because lone surrogates (models do write them) can be written no other way.
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _encode_carefully(value: Wire) -> bytes:
    if "info" in value:
        value = value | {"info": json.loads(to_json(value["info"]))}
    try:
        return _dumps(json.loads(json.dumps(value), parse_constant=lambda _: None))
    except (TypeError, ValueError, RecursionError) as error:
        raise EnvironmentFailure(f"the environment answered something that JSON cannot say: {error}") from error
