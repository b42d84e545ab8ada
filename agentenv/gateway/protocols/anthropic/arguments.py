"""A tool call's arguments: any text in chat completions, always an object in the Messages API."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from agentenv.gateway.protocols.common import JsonObject

INVALID_JSON = "INVALID_JSON"
"""The key under which arguments that are no JSON object travel, as they were sampled.

Anthropic's documentation wraps malformed tool input in this way (fine-grained tool streaming: "handling invalid JSON").
An agent's own validation refuses such an input, the model hears of it, and when the call comes back in the history it
is the sampled text again, to the letter.
"""


def input_of(arguments: str) -> dict[str, Any]:
    """The `input` of a tool use. No text at all, as some servers send for a tool without parameters, is an empty one.

    >>> input_of('{"expression": "1+1"}'), input_of('{"expression": ')
    ({'expression': '1+1'}, {'INVALID_JSON': '{"expression": '})
    """
    if not arguments:
        return {}
    try:
        value = json.loads(arguments, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or value.keys() == {INVALID_JSON}:
        return {INVALID_JSON: arguments}
    return value


def arguments_of(tool_input: JsonObject) -> str:
    """The arguments of a tool call; the inverse of `input_of` up to the spelling of valid JSON.

    Valid input is spelt as vLLM's tool parsers spell it, so that a history rendered again is usually the same text.
    """
    if tool_input.keys() == {INVALID_JSON} and isinstance(tool_input[INVALID_JSON], str):
        return str(tool_input[INVALID_JSON])
    return json.dumps(tool_input, ensure_ascii=False)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is beyond a double's reach")
    return number
