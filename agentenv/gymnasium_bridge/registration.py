"""Gymnasium ids for the environments in agentenv's registry."""

from __future__ import annotations

import gymnasium

from agentenv.registry import list_environments

NAMESPACE = "agentenv"


def gymnasium_id(id: str) -> str:
    """What an environment is called in Gymnasium, which allows one slash only.

    >>> gymnasium_id("calculator-v0"), gymnasium_id("math/gsm8k-v0")
    ('agentenv/calculator-v0', 'agentenv/math.gsm8k-v0')
    """
    return f"{NAMESPACE}/{id.replace('/', '.')}"


def register_all() -> None:
    """Registers every known environment with Gymnasium; call it again after registering one of your own.

    No environment is imported for it: specifications are data. Ids that Gymnasium has already are left alone.
    """
    for spec in list_environments():
        name = gymnasium_id(spec.id)
        if name not in gymnasium.registry:
            gymnasium.register(
                id=name,
                entry_point="agentenv.gymnasium_bridge.env:GymnasiumBridge",
                nondeterministic=not spec.deterministic,
                kwargs={"environment": spec.id},
            )
