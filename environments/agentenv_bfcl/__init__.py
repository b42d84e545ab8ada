"""The Berkeley Function Calling Leaderboard, version 4: single calls, and conversations that change simulated worlds.

`source` finds the data of the package `bfcl-eval`, `functions` turns its function descriptions into tools.
Single-turn: `matching` compares calls with the allowed ones, `single` is the environment. Multi-turn: `simulators` are
an episode's worlds, `bounds` keeps them from blocking the process, `calls` and `scenarios` are what a ground truth
does to them, `verdicts` compares the two, `multi_turn` is the environment, and `replay` plays ground truths and others.
"""

from __future__ import annotations

from agentenv.registry import EnvSpec

SPECS = (
    EnvSpec(
        id="bfcl/single-v0",
        entry_point="agentenv_bfcl.single:SingleTurn",
        description="BFCL v4, one turn: which functions to call with which arguments, or none. Needs the data.",
        max_turns=1,
        tags=("tools", "single-turn", "needs-data"),
        extra="tools",
    ),
    EnvSpec(
        id="bfcl/multi-turn-v0",
        entry_point="agentenv_bfcl.multi_turn:MultiTurn",
        description="BFCL v4, conversations: tools change simulated worlds, which are judged. Needs the data.",
        tags=("tools", "multi-turn", "needs-data"),
        extra="tools",
    ),
)
