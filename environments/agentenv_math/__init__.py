"""Mathematical problems answered in text: endless arithmetic, and GSM8K in one attempt or several.

`answers` finds the answer in a reply, `grader` compares it, `env` is the conversation; `arithmetic` and `gsm8k` are
sources of tasks with the environments made of them.
"""

from __future__ import annotations

from agentenv.registry import EnvSpec

SPECS = (
    EnvSpec(
        id="math/arithmetic-v0",
        entry_point="agentenv_math.arithmetic:Arithmetic",
        description="Endless arithmetic expressions of difficulty 1 to 5, answered in one turn.",
        max_turns=1,
        tags=("math", "single-turn", "procedural"),
        extra="math",
    ),
    EnvSpec(
        id="math/gsm8k-v0",
        entry_point="agentenv_math.gsm8k:Gsm8k",
        description="Grade-school word problems (GSM8K), answered in one turn. Needs the data: see path=.",
        max_turns=1,
        tags=("math", "single-turn", "needs-data"),
        extra="math",
    ),
    EnvSpec(
        id="math/gsm8k-retry-v0",
        entry_point="agentenv_math.gsm8k:Gsm8k",
        kwargs={"attempts": 3, "decay": 0.5},
        description="GSM8K with several attempts; each wrong one halves what the right answer earns.",
        max_turns=10,
        tags=("math", "multi-turn", "needs-data"),
        extra="math",
    ),
)
