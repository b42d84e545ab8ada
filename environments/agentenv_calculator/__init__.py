"""The calculator: multi-turn tool use on an endless source of arithmetic tasks. See `agentenv_calculator.env`."""

from __future__ import annotations

from agentenv.registry import EnvSpec

SPECS = (
    EnvSpec(
        id="calculator-v0",
        entry_point="agentenv_calculator.env:Calculator",
        description="Work out a chain of operations, one calculator call each, and answer with the number.",
        max_turns=11,
        tags=("tools", "multi-turn", "procedural"),
    ),
)
