"""Look up, work out, cite: a task for three tools, small enough to be learnt from nothing in minutes.

`catalogue` holds what is looked up, `questions` what is asked, `env` plays it, and `careless` demonstrates it badly.
"""

from __future__ import annotations

from agentenv.registry import EnvSpec

SPECS: tuple[EnvSpec, ...] = (
    EnvSpec(
        id="tools/research-v0",
        entry_point="agentenv_tools.research.env:Research",
        description="Find a number in a catalogue, calculate with it, and answer with the number and its page.",
        max_turns=11,
        reward_range=(-0.2, 0.94),
        tags=("tools", "search", "multi-turn", "procedural"),
    ),
)
