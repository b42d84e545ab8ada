"""A plugin as a stranger would write it."""

from agentenv.registry import EnvSpec

SPECS = tuple(EnvSpec(id=f"ours/{name}-v0", entry_point=f"nowhere:{name.title()}") for name in ("one", "two"))
