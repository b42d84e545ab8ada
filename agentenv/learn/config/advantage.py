"""Which advantage a run uses, and its parameters. The definitions are in `agentenv.learn.advantages`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import pydantic

from agentenv.learn.advantages.group_relative import DEFAULT_EPSILON, Baseline
from agentenv.learn.config.strict import Strict, kind_or

Discount = Annotated[float, pydantic.Field(gt=0, le=1)]
Trace = Annotated[float, pydantic.Field(ge=0, le=1)]


class Grpo(Strict):
    """Outcome relative to the group; `divide_by_std = false` is Dr. GRPO's (see `advantages.grpo`)."""

    kind: Literal["grpo"] = "grpo"
    divide_by_std: bool = True
    ddof: Literal[0, 1] = 1
    epsilon: float = pydantic.Field(default=DEFAULT_EPSILON, ge=0)


class Rloo(Strict):
    """Outcome relative to the other members of the group (see `advantages.rloo`)."""

    kind: Literal["rloo"] = "rloo"


class MaxRl(Strict):
    """Outcome relative to the group's success rate (see `advantages.maxrl`). Rewards must not be negative."""

    kind: Literal["maxrl"] = "maxrl"


class Reinforce(Strict):
    """Outcome less a baseline (see `advantages.reinforce`)."""

    kind: Literal["reinforce"] = "reinforce"
    baseline: Baseline = Baseline.GROUP


class ReinforcePlusPlus(Strict):
    """Discounted return-to-go of every sampled token, whitened over the batch (see `advantages.returns_to_go`)."""

    kind: Literal["reinforce++"] = "reinforce++"
    discount: Discount = 1.0


class ProcessSupervision(Strict):
    """Step rewards relative to those of the whole group, summed from the turn on (see `process_supervision`).

    Attributes:
        discount: γ_turn of that sum.
    """

    kind: Literal["process_supervision"] = "process_supervision"
    discount: Discount = 1.0
    epsilon: float = pydantic.Field(default=DEFAULT_EPSILON, ge=0)


class Gigpo(Strict):
    """Outcome relative to the group, and each step relative to those taken in the same state (see `gigpo`).

    The environment must name its states (`Env.state_key`).
    """

    kind: Literal["gigpo"] = "gigpo"
    discount: Discount = 0.95
    step_weight: float = pydantic.Field(default=1.0, ge=0)
    divide_by_std: bool = True
    epsilon: float = pydantic.Field(default=DEFAULT_EPSILON, ge=0)


class _WithCritic(Strict):
    """Generalised advantage estimation. It needs a `[critic]`.

    Attributes:
        discount: γ. trace: λ of the policy's advantages. critic_trace: λ of the critic's targets (decoupled GAE).
        whiten: advantages are brought to mean 0 and deviation 1 over the batch's sampled tokens.
        bootstrap_truncated: a truncated episode is credited with what the critic expects after the cut; false takes a
            limit to be part of the task, and nothing to come after it.
    """

    discount: Discount = 1.0
    trace: Trace = 0.95
    critic_trace: Trace = 1.0
    whiten: bool = True
    bootstrap_truncated: bool = True


class TokenGae(_WithCritic):
    """One time step for each sampled token (see `advantages.masked_gae`).

    Attributes:
        length_adaptive: α of λ = max(0, 1 − 1/(α · length)), which then takes the place of `trace`.
    """

    kind: Literal["gae"] = "gae"
    length_adaptive: float | None = pydantic.Field(default=None, gt=0)


class TurnGae(_WithCritic):
    """One time step for each turn (see `advantages.turn_gae`)."""

    kind: Literal["turn_gae"] = "turn_gae"


class Keep(StrEnum):
    """Which of a group's successes are imitated: all of them, or one drawn at random."""

    ALL = "all"
    ONE = "one"


class Imitation(Strict):
    """Expert iteration, also known as rejection-sampling fine-tuning: successes weigh 1, everything else nothing.

    Attributes:
        at_least: the return from which on an episode is a success.
    """

    kind: Literal["imitation"] = "imitation"
    keep: Keep = Keep.ALL
    at_least: float = 1.0


class Preference(Strict):
    """Direct preference optimisation: the best of each group against the worst (see `losses.dpo`).

    The reference is the model the iterations started from.

    Attributes:
        beta: how far from the reference a preference may take the policy; smaller is further.
    """

    kind: Literal["preference"] = "preference"
    beta: float = pydantic.Field(default=0.1, gt=0)


AdvantageConfig = Annotated[
    Annotated[Grpo, pydantic.Tag("grpo")]
    | Annotated[Rloo, pydantic.Tag("rloo")]
    | Annotated[MaxRl, pydantic.Tag("maxrl")]
    | Annotated[Reinforce, pydantic.Tag("reinforce")]
    | Annotated[ReinforcePlusPlus, pydantic.Tag("reinforce++")]
    | Annotated[ProcessSupervision, pydantic.Tag("process_supervision")]
    | Annotated[Gigpo, pydantic.Tag("gigpo")]
    | Annotated[TokenGae, pydantic.Tag("gae")]
    | Annotated[TurnGae, pydantic.Tag("turn_gae")]
    | Annotated[Imitation, pydantic.Tag("imitation")]
    | Annotated[Preference, pydantic.Tag("preference")],
    pydantic.Discriminator(kind_or("grpo")),
]
