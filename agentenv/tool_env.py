"""`ToolEnv`: a `ChatEnv` whose tools cost something, may be switched off, and may not be misused for ever."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from agentenv.chat import ChatEnv
from agentenv.env import Action, Info, Observation, StepResult
from agentenv.messages import ToolCall, tool_result
from agentenv.rewards import Component, Reward, as_reward
from agentenv.tasks import Task
from agentenv.tool_rules import ToolRules, ToolUse
from agentenv.tools import ToolErrorKind, ToolOutcome, ToolSet


class ToolEnv(ChatEnv):
    """A conversation with tools under rules.

    What calls cost is a component `tool_cost` of the reward of the turn that makes them. A limit that is reached cuts
    the episode off, as any limit does: the turn keeps its reward, and `info["stop_reason"]` says which it was. The
    metrics count invalid, repeated and repaired calls.

    A subclass whose tools are not its `@tool` methods overrides `all_tools`, once they are known in `setup`.

    Args:
        tool_rules: `ToolRules`, or a mapping with its attributes.

    Example:
        class Shop(ToolEnv):
            @tool(inline=True)
            def price(self, item: str) -> float:
                return PRICES[item]

        agentenv.make("shop.py:Shop", tool_rules={"cost": 0.05, "max_repeated_calls": 3})

    Raises:
        ConfigError: rules that make no sense.
    """

    def __init__(self, tool_rules: ToolRules | Mapping[str, Any] | str | None = None) -> None:
        super().__init__()
        self.tool_rules = ToolRules.of(tool_rules)
        self.tool_use = ToolUse()
        self.__offered: tuple[ToolSet, ToolSet] | None = None

    @property
    def all_tools(self) -> ToolSet:
        """The tools there are, before any rule. Override it to offer others than the `@tool` methods."""
        return super().tools

    @property
    def tool_names(self) -> Collection[str]:
        """What rules may name: all tools an episode can come to offer. Override it where `all_tools` grows."""
        return [tool.spec.name for tool in self.all_tools]

    @property
    def tools(self) -> ToolSet:
        """Those of `all_tools` that the rules leave."""
        there = self.all_tools
        if self.__offered is None or self.__offered[0] is not there:
            self.__offered = there, self.tool_rules.offered(there)
        return self.__offered[1]

    async def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        self.tool_use = ToolUse()
        opening = await super().reset(task=task, seed=seed)
        self.tool_rules.check(self.tool_names)
        return opening

    async def step(self, action: Action) -> StepResult:
        before = self.tool_use.cost
        result = await super().step(action)
        result.info["metrics"].update(self.tool_use.metrics)
        if (cost := self.tool_use.cost - before) and result.reward is not None:
            # Only a turn with calls costs, and such a turn is worth what `score_turn` says.
            earned = as_reward(result.reward, type(self).__name__) or Reward.of()
            result = result._replace(reward=Reward.of(*earned.components, Component("tool_cost", cost, -1.0)))
        stop = self.tool_use.exceeded(self.tool_rules)
        if stop is None or result.terminated:
            return result
        return result._replace(truncated=True, info={**result.info, "stop_reason": stop.value})

    async def call_tools(self, calls: Sequence[ToolCall]) -> list[ToolOutcome]:
        affordable = self._affordable(calls)
        made = iter(await super().call_tools([call for call, fits in zip(calls, affordable, strict=True) if fits]))
        outcomes = [
            next(made) if fits else _refused(call, self.tool_rules.cost_of(call.name))
            for call, fits in zip(calls, affordable, strict=True)
        ]
        self.tool_use = self.tool_use.after(outcomes, self.tool_rules)
        return outcomes

    def _affordable(self, calls: Sequence[ToolCall]) -> list[bool]:
        """Which of the calls still fit into the budget, the first ones first."""
        budget = self.tool_rules.budget
        if budget is None:
            return [True] * len(calls)
        left, found = budget - self.tool_use.cost, []
        for call in calls:
            cost = self.tool_rules.cost_of(call.name)
            fits = cost <= left + _ROUNDING
            found.append(fits)
            left -= cost * fits
        return found


_ROUNDING = 1e-9
"""Ten calls of 0.1 fit into a budget of 1."""


def _refused(call: ToolCall, cost: float) -> ToolOutcome:
    said = f"Error: a call of {call.name} costs {cost:g}, which the budget for tools has not left."
    return ToolOutcome(call, tool_result(call.id, said, call.name), ToolErrorKind.REFUSED, 0.0)
