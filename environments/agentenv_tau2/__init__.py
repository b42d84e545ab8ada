"""tau2-bench: an agent with tools and a policy serves a simulated customer, and is judged by what the database holds.

`data` reads the benchmark's files, `rows` says what a task is; `retail` and `mock` are the two worlds, built on
`tables` and `world`. `users` simulates the customer, `verdict` scores, `env` is the conversation. `replay` plays every
task's own ground truth: `python -m agentenv_tau2 replay --domain retail`.
"""

from __future__ import annotations

from agentenv.registry import EnvSpec

SPECS: tuple[EnvSpec, ...] = (
    EnvSpec(
        id="tau2/retail-v0",
        entry_point="agentenv_tau2.env:Tau2",
        kwargs={"domain": "retail"},
        description="tau2-bench retail: customer service on a shop's database. Needs the data: see data=.",
        max_turns=100,
        tags=("tools", "multi-turn", "user-simulator", "needs-data"),
    ),
    EnvSpec(
        id="tau2/mock-v0",
        entry_point="agentenv_tau2.env:Tau2",
        kwargs={"domain": "mock"},
        description="tau2-bench mock: ten small tasks on a list of tasks. Needs the data: see data=.",
        max_turns=50,
        tags=("tools", "multi-turn", "user-simulator", "needs-data"),
    ),
)
