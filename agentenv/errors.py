"""The errors a user of agentenv can meet: one small hierarchy, each with a message that says what to do next.

Two families share the root. *Mistakes* (`ConfigError`, `RegistryError`, …) are found before work starts and are
shown as one line. *Failures* (`BoundaryError` and below) happen while an episode runs; `agentenv.outcome` maps each
to the boundary it crossed and to the episode's status, and never to a reward.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AgentenvError(Exception):
    """Root of every error agentenv raises on purpose."""


class ConfigError(AgentenvError):
    """A configuration, option or combination of options that makes no sense."""


class RegistryError(AgentenvError):
    """An id that is malformed, unknown, registered twice, or whose environment cannot be built."""


class MissingExtraError(AgentenvError):
    """A part of agentenv whose optional packages are not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the '{extra}' extra: pip install 'agentenv-rl[{extra}]'")
        self.extra = extra


class MissingDataError(AgentenvError):
    """Data that is not on this machine; the message says how to get it."""


class UnscoredRewardError(AgentenvError):
    """An average, advantage or row was asked of a reward that is `None` (not scored)."""


class UnsupportedError(AgentenvError):
    """An optional capability (snapshot, oracle, …) this object does not have."""


class BoundaryError(AgentenvError):
    """A failure while an episode runs. Subclasses name the boundary that failed; see `agentenv.outcome`."""


class EnvironmentFailure(BoundaryError):
    """The environment raised, returned something malformed, or could not be built."""


class ModelError(BoundaryError):
    """The policy's endpoint failed after all retries, or answered something unusable."""


class ContextLengthError(ModelError):
    """The conversation no longer fits the model's context. The engine truncates the episode instead of failing it."""


class ToolFailure(BoundaryError):
    """A tool's infrastructure failed. (A tool that merely raises is an observation, not a failure.)"""


class SandboxError(BoundaryError):
    """The sandbox, container or browser behind the environment failed."""


class VerifierError(BoundaryError):
    """A reward function or grader raised, hung, or returned something that is not a finite number."""


class RewardTypeError(VerifierError):
    """A reward that is no finite number: a string, an array, NaN, an infinity."""


class EpisodeTimeout(BoundaryError):
    """A call, or the whole episode, ran out of its wall-clock budget."""


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """A ready-made hint such as ``" Did you mean 'math/gsm8k-v0'?"``, or ``""`` when nothing is near.

    >>> nearest("calcualtor-v0", ["calculator-v0", "math/gsm8k-v0"])
    " Did you mean 'calculator-v0'?"
    """
    matches = difflib.get_close_matches(name, list(known), n=count, cutoff=0.5)
    if not matches:
        return ""
    return " Did you mean " + " or ".join(repr(match) for match in matches) + "?"
