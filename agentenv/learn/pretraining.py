"""How long the critic learns alone before the policy joins it."""

from __future__ import annotations

import math
from typing import Any

from agentenv.learn.config import PretrainingConfig


class Pretraining:
    """The stop rule of value pretraining (VC-PPO, https://arxiv.org/abs/2503.01491, section 4.1).

    The critic is judged on rollouts before it learns from them. Once its explained variance has stopped rising, or
    after the most iterations allowed, the policy is trained too, and that is never taken back.
    """

    def __init__(self, config: PretrainingConfig | None) -> None:
        self._config = config
        self._over = config is None
        self._seen = 0
        self._best = -math.inf
        self._since_rise = 0

    def goes_on(self, explained_variance: float) -> bool:
        """Whether this iteration still trains the critic alone. Call it once an iteration.

        Returns that all agree (`nan`) tell nothing about the critic and count as no rise.
        """
        if self._over or self._config is None:
            return False
        if explained_variance > self._best + self._config.rise:
            self._since_rise = 0
        else:
            self._since_rise += 1
        self._best = max(self._best, explained_variance) if not math.isnan(explained_variance) else self._best
        self._over = self._since_rise >= self._config.patience or self._seen >= self._config.most
        self._seen += 1
        return not self._over

    def state_dict(self) -> dict[str, Any]:
        return {"over": self._over, "seen": self._seen, "best": self._best, "since_rise": self._since_rise}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._over, self._seen = state["over"], state["seen"]
        self._best, self._since_rise = state["best"], state["since_rise"]
