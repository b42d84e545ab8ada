"""What every configuration of learning has in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pydantic


class Strict(pydantic.BaseModel):
    """Immutable, and refuses keys it does not have and numbers that are not finite."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def kind_or(default: str) -> Callable[[Any], str]:
    """A discriminator that takes a table without `kind` to mean `default`."""

    def kind(value: Any) -> str:
        found = value.get("kind", default) if isinstance(value, dict) else getattr(value, "kind", default)
        return str(found)

    return kind
