from __future__ import annotations

from agentenv.registry import EnvSpec

SPECS: tuple[EnvSpec, ...] = ()
