"""The world `calculator`: a tool without a state."""

from __future__ import annotations

from typing import ClassVar

from agentenv.tools import ToolError, tool
from agentenv_tools.world import World, register_world
from agentenv_tools.worlds.arithmetic import evaluate, written


@register_world
class CalculatorWorld(World):
    """Works out expressions."""

    name: ClassVar[str] = "calculator"
    stateful: ClassVar[bool] = False

    @tool(inline=True)
    def calculate(self, expression: str) -> str:
        """Works out an expression, exactly where that is possible.

        There are + - * / // % **, brackets, pi, e, and sqrt, abs, round, floor, ceil, min, max, gcd.

        Args:
            expression: For example "(12 + 7) * 3.5" or "round(1000 / 7, 2)".
        """
        try:
            return written(evaluate(expression))
        except ValueError as problem:
            raise ToolError(f"Error: {problem}") from None

    def snapshot(self) -> None:
        return None

    def restore(self, snapshot: None) -> None:
        return None
