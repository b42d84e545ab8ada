"""Configuration of learning: what may be set, its defaults, and the combinations that make no sense.

`training`: the run. `advantage`, `loss`, `critic`, `groups`: the algorithm, one table of the file each.
"""

from __future__ import annotations

from agentenv.learn.config.advantage import AdvantageConfig
from agentenv.learn.config.critic import CriticConfig, CriticKind, PretrainingConfig
from agentenv.learn.config.groups import GroupsConfig, OverlongConfig
from agentenv.learn.config.loss import (
    Correction,
    CorrectionConfig,
    KlConfig,
    KlEstimator,
    KlPlacement,
    LossConfig,
    Proximal,
)
from agentenv.learn.config.training import (
    EvaluationConfig,
    FinalTestConfig,
    IdleRows,
    ImitationPhase,
    LearnerConfig,
    SupervisedConfig,
    TrainConfig,
    WarmupConfig,
)

__all__ = [
    "AdvantageConfig",
    "Correction",
    "CorrectionConfig",
    "CriticConfig",
    "CriticKind",
    "EvaluationConfig",
    "FinalTestConfig",
    "GroupsConfig",
    "IdleRows",
    "ImitationPhase",
    "KlConfig",
    "KlEstimator",
    "KlPlacement",
    "LearnerConfig",
    "LossConfig",
    "OverlongConfig",
    "PretrainingConfig",
    "Proximal",
    "SupervisedConfig",
    "TrainConfig",
    "WarmupConfig",
]
