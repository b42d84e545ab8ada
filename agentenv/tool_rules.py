"""How an episode may use its tools: which are offered, what calls cost, and how many may go wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

import pydantic

from agentenv.errors import ConfigError, nearest
from agentenv.messages import ToolCall
from agentenv.outcome import StopReason
from agentenv.tools import ToolErrorKind, ToolOutcome, ToolSet

EVERY = "*"
"""Stands for all tools, where they are switched off."""
FEWEST_CALLS_FOR_A_RATE = 5
"""Calls before a rate of errors means anything."""

Call = tuple[str, str]
"""A tool's name, and the arguments as they were written."""


class ToolRules(pydantic.BaseModel):
    """Rules for the tools of an episode, as a configuration gives them.

    Attributes:
        without: names of tools that are not offered; `["*"]` is all of them, which is how one finds out what they are
            worth.
        repair: whether arguments that miss JSON by little are read all the same. Every repair is counted.
        cost: of a call; costs: of one tool's calls, where it differs. Paid in reward, in the turn that makes the call.
        budget: what the calls of an episode may cost together; one that no longer fits is refused.
        max_invalid_calls: calls of no tool, or with impossible arguments, after which the episode is cut off.
        max_repeated_calls: the same for calls that were made before, with the same result.
        max_error_rate: the same for the share of calls that give no result, once there were five.

    Example:
        ToolRules(without=["search"], cost=0.01, max_invalid_calls=5)
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    without: tuple[str, ...] = ()
    repair: bool = False
    cost: float = pydantic.Field(0.0, ge=0.0, allow_inf_nan=False)
    costs: Mapping[str, Annotated[float, pydantic.Field(ge=0.0, allow_inf_nan=False)]] = {}
    budget: float | None = pydantic.Field(None, gt=0.0)
    max_invalid_calls: int | None = pydantic.Field(None, ge=1)
    max_repeated_calls: int | None = pydantic.Field(None, ge=1)
    max_error_rate: float | None = pydantic.Field(None, gt=0.0, lt=1.0)

    @classmethod
    def of(cls, given: ToolRules | Mapping[str, Any] | str | None) -> ToolRules:
        """Rules as an environment's argument; also as JSON, as a command line has it.

        Raises:
            ConfigError: there is no such rule, or its value makes no sense.
        """
        if isinstance(given, ToolRules):
            return given
        try:
            return cls.model_validate_json(given) if isinstance(given, str) else cls.model_validate(given or {})
        except pydantic.ValidationError as problem:
            first = problem.errors(include_url=False)[0]
            where = ".".join(str(step) for step in first["loc"])
            raise ConfigError(f"tool_rules: {where}: {first['msg']}") from None

    def cost_of(self, name: str) -> float:
        """What one call of this tool costs."""
        return self.costs.get(name, self.cost)

    def check(self, known: Collection[str]) -> None:
        """Refuses rules for tools that are not there.

        Args:
            known: the names of all tools there are.

        Raises:
            ConfigError: one that is named is none of them.
        """
        for name in (*self.without, *self.costs):
            if name != EVERY and name not in known:
                hint = nearest(name, known) or f" There are {', '.join(known) or 'none'}."
                raise ConfigError(f"tool_rules: there is no tool {name!r}.{hint}")

    def offered(self, tools: ToolSet) -> ToolSet:
        """The tools that are left."""
        left = [tool for tool in tools if EVERY not in self.without and tool.spec.name not in self.without]
        return ToolSet(left, repair=self.repair)


@dataclass(frozen=True, slots=True)
class ToolUse:
    """What an episode has done with its tools. A value: safe to keep.

    Attributes:
        calls: that were made or refused. errors: without a result. invalid: errors that are the call's own.
        repeated: made before, with the same result. repaired: with arguments that were put right. cost: of all calls.
    """

    calls: int = 0
    errors: int = 0
    invalid: int = 0
    repeated: int = 0
    repaired: int = 0
    cost: float = 0.0
    results: Mapping[Call, object] = field(default_factory=dict)
    """The last result of each call, by which one sees that it was repeated in vain."""

    def after(self, outcomes: Sequence[ToolOutcome], rules: ToolRules) -> Self:
        """What it is once these calls were made."""
        results = dict(self.results)
        repeated = 0
        for outcome in outcomes:
            key, content = _key(outcome.call), outcome.message.content
            repeated += key in results and results[key] == content
            results[key] = content
        return dataclasses.replace(
            self,
            calls=self.calls + len(outcomes),
            errors=self.errors + sum(outcome.error is not None for outcome in outcomes),
            invalid=self.invalid + sum(outcome.error is not None and outcome.error.invalid for outcome in outcomes),
            repeated=self.repeated + repeated,
            repaired=self.repaired + sum(bool(outcome.repairs) for outcome in outcomes),
            cost=self.cost + sum(paid(outcome, rules) for outcome in outcomes),
            results=results,
        )

    def exceeded(self, rules: ToolRules) -> StopReason | None:
        """The limit that this use has reached, if any."""
        if rules.max_invalid_calls is not None and self.invalid >= rules.max_invalid_calls:
            return StopReason.INVALID_CALL_LIMIT
        if rules.max_repeated_calls is not None and self.repeated >= rules.max_repeated_calls:
            return StopReason.REPEATED_CALL_LIMIT
        enough = self.calls >= FEWEST_CALLS_FOR_A_RATE
        if rules.max_error_rate is not None and enough and self.errors / self.calls >= rules.max_error_rate:
            return StopReason.TOOL_ERROR_LIMIT
        return None

    @property
    def metrics(self) -> dict[str, float]:
        return {
            "invalid_calls": self.invalid,
            "repeated_calls": self.repeated,
            "repaired_calls": self.repaired,
            "tool_cost": self.cost,
        }


def paid(outcome: ToolOutcome, rules: ToolRules) -> float:
    """What a call has cost: one that was refused, nothing."""
    return 0.0 if outcome.error is ToolErrorKind.REFUSED else rules.cost_of(outcome.call.name)


def _key(call: ToolCall) -> Call:
    return call.name, call.arguments
