"""reasoning-gym as environments: every procedural dataset of the package as `reasoning_gym/<name>-v0`.

    env = agentenv.make("reasoning_gym/chain_sum-v0", min_terms=3, max_terms=5)

Keyword arguments are the dataset's own configuration. Listing the ids does not import reasoning_gym.
"""

from __future__ import annotations

from agentenv_reasoning_gym.catalogue import dataset_names, specs

__all__ = ["dataset_names", "specs"]
