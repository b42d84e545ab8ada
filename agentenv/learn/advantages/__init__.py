"""Advantages: what each episode, turn or token is credited with. One definition a function, without torch.

`group_relative`: GRPO, Dr. GRPO, RLOO, MaxRL, REINFORCE. `steps`: process supervision, GiGPO. `gae`: with a critic, by
token and by turn; REINFORCE++. `selection`: dynamic sampling, resampling on correct, overlong shaping.
"""

from __future__ import annotations

from agentenv.learn.advantages.gae import (
    Estimate,
    explained_variance,
    length_adaptive_trace,
    masked_gae,
    returns_to_go,
    turn_gae,
    whitened,
)
from agentenv.learn.advantages.group_relative import Baseline, GroupAdvantages, grpo, maxrl, reinforce, rloo
from agentenv.learn.advantages.selection import overlong_penalty, resample_on_correct, tells_apart
from agentenv.learn.advantages.steps import TurnAdvantages, discounted_returns, gigpo, process_supervision

__all__ = [
    "Baseline",
    "Estimate",
    "GroupAdvantages",
    "TurnAdvantages",
    "discounted_returns",
    "explained_variance",
    "gigpo",
    "grpo",
    "length_adaptive_trace",
    "masked_gae",
    "maxrl",
    "overlong_penalty",
    "process_supervision",
    "reinforce",
    "resample_on_correct",
    "returns_to_go",
    "rloo",
    "tells_apart",
    "turn_gae",
    "whitened",
]
