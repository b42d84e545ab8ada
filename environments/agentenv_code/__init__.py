"""Environments in which a policy writes programs."""

from __future__ import annotations

from agentenv.registry import EnvSpec

SPECS: tuple[EnvSpec, ...] = (
    EnvSpec(
        id="code/terminal-v0",
        entry_point="agentenv_code.terminal.env:Terminal",
        description="Task folders in Harbor's format (terminal-bench 2), worked on with bash. See tasks_path=.",
        max_turns=40,
        tags=("code", "terminal", "tools", "multi-turn"),
    ),
    EnvSpec(
        id="code/repair-v0",
        entry_point="agentenv_code.repair.env:Repair",
        description="Small repositories with a bug, in SWE-bench's shape, judged by tests the agent does not see.",
        max_turns=40,
        tags=("code", "repair", "tools", "multi-turn"),
    ),
)
