"""Environments in which a policy writes programs."""

from __future__ import annotations

from agentenv.registry import EnvSpec

SPECS: tuple[EnvSpec, ...] = (
    EnvSpec(
        id="code/functions-v0",
        entry_point="agentenv_code.synthesis.env:Synthesis",
        description="Functions to be written, judged by hidden tests. See tasks_path=.",
        max_turns=1,
        tags=("code", "single-turn"),
    ),
    EnvSpec(
        id="code/functions-retry-v0",
        entry_point="agentenv_code.synthesis.env:Synthesis",
        kwargs={"attempts": 4, "decay": 0.8},
        description="The same in several attempts, each after a report on the public tests.",
        max_turns=10,
        tags=("code", "multi-turn"),
    ),
    EnvSpec(
        id="code/programs-v0",
        entry_point="agentenv_code.synthesis.env:Programs",
        description="Programs on standard input and output, judged by hidden runs. See tasks_path=.",
        max_turns=1,
        tags=("code", "single-turn"),
    ),
    EnvSpec(
        id="code/programs-retry-v0",
        entry_point="agentenv_code.synthesis.env:Programs",
        kwargs={"attempts": 4, "decay": 0.8},
        description="The same in several attempts, each after a report on the public runs.",
        max_turns=10,
        tags=("code", "multi-turn"),
    ),
    EnvSpec(
        id="code/one_liners-v0",
        entry_point="agentenv_code.synthesis.one_liners:OneLiners",
        description="Endless tiny functions of one line, for tiny policies: multiply by 3, then add 2.",
        max_turns=1,
        tags=("code", "single-turn", "procedural"),
    ),
    EnvSpec(
        id="code/humaneval-v0",
        entry_point="agentenv_code.synthesis.humaneval:HumanEval",
        description="The 164 functions of HumanEval, completed from their docstrings (split: test).",
        max_turns=1,
        tags=("code", "single-turn", "benchmark"),
        extra="code",
    ),
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
    EnvSpec(
        id="code/python-math-v0",
        entry_point="agentenv_code.python_math.env:PythonMath",
        description="Problems with a number as answer and a Python session to work it out; GSM8K's files with path=.",
        max_turns=8,
        tags=("code", "math", "tools", "multi-turn", "procedural"),
    ),
)
