"""The barrier-free rollout engine: episodes in, records out, nobody waits for anybody else."""

from agentenv.rollout.config import RetryConfig, RolloutConfig
from agentenv.rollout.engine import RolloutEngine
from agentenv.rollout.journal import DuplicateEpisodeError, Journal, JournalError
from agentenv.rollout.lag import Stall
from agentenv.rollout.replaying import Difference, ReplayReport, replay
from agentenv.rollout.request import EpisodeRequest, derive_seed, group_requests
from agentenv.rollout.rescoring import Rescored, RescoreReport, rescore
from agentenv.rollout.stats import Lap, ModelCalls, RolloutStats

__all__ = [
    "Difference",
    "DuplicateEpisodeError",
    "EpisodeRequest",
    "Journal",
    "JournalError",
    "Lap",
    "ModelCalls",
    "ReplayReport",
    "RescoreReport",
    "Rescored",
    "RetryConfig",
    "RolloutConfig",
    "RolloutEngine",
    "RolloutStats",
    "Stall",
    "derive_seed",
    "group_requests",
    "replay",
    "rescore",
]
