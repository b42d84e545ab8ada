"""BFCL's ground truths: calls as Python writes them, read without ever being run as Python."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentenv.errors import ConfigError


@dataclass(frozen=True, slots=True)
class PythonCall:
    """A call with literal arguments."""

    function: str
    positional: tuple[Any, ...]
    named: Mapping[str, Any]

    @classmethod
    def parse(cls, text: str) -> PythonCall:
        """
        >>> PythonCall.parse("cp('a.txt', destination='b.txt')")
        PythonCall(function='cp', positional=('a.txt',), named={'destination': 'b.txt'})

        Raises:
            ConfigError: it is not one call of a plain name with literals.
        """
        try:
            call = ast.parse(text.strip(), mode="eval").body
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
                raise ValueError("it is not the call of a name")
            positional = tuple(ast.literal_eval(argument) for argument in call.args)
            named = {}
            for keyword in call.keywords:
                if keyword.arg is None:
                    raise ValueError("it unpacks a mapping")
                named[keyword.arg] = ast.literal_eval(keyword.value)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
            raise ConfigError(
                f"a ground truth must be calls with literal arguments, not {text!r:.120}: {error}"
            ) from None
        return cls(call.func.id, positional, named)

    def arguments(self, method: Any) -> str:
        """Its arguments by the names of the function's parameters, as JSON.

        Raises:
            ConfigError: they do not fit the function, or JSON.
        """
        names = [name for name in inspect.signature(method).parameters if name != "self"]
        if len(self.positional) > len(names):
            raise ConfigError(
                f"{self.function} takes {len(names)} arguments, a ground truth has {len(self.positional)}"
            )
        placed = dict(zip(names, self.positional, strict=False))
        if twice := placed.keys() & self.named.keys():
            raise ConfigError(f"a ground truth gives {self.function} {', '.join(sorted(twice))} twice")
        try:
            return json.dumps({**placed, **self.named}, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"the arguments of a ground truth must be JSON: {self.function}: {error}") from None
