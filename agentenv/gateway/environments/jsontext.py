"""JSON texts on the wire: written once per reply, and always something any JSON reader takes."""

from __future__ import annotations

import json
from typing import Any

from agentenv.errors import EnvironmentFailure
from agentenv.gateway.environments.refusals import Code, Refusal
from agentenv.messages import Wire
from agentenv.rollout.codec import to_json

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def encode(value: Wire) -> str:
    """A JSON text without line breaks.

    What a diagnostic holds that JSON has no word for is written as the nearest JSON value, and infinities and NaN as
    null; anywhere else it is refused.

    Raises:
        EnvironmentFailure: the rest of the value cannot be written.
    """
    try:
        text = _encode(value)
    except (TypeError, ValueError, RecursionError):
        text = _encode_carefully(value)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:  # lone surrogates, which models do write
        return json.dumps(value, separators=(",", ":"))
    return text


def _encode_carefully(value: Wire) -> str:
    if "info" in value:
        value["info"] = json.loads(to_json(value["info"]), parse_constant=lambda _: None)
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise EnvironmentFailure(f"the environment answered something that JSON cannot say: {error}") from error


def decode(text: str | bytes) -> Wire:
    """A JSON object.

    Raises:
        Refusal: the text is anything else.
    """
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refusal(Code.MALFORMED, f"the request is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise Refusal(Code.MALFORMED, f"the request must be a JSON object, got {text[:80]!r}")
    return value
