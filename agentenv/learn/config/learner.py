"""How rows become optimizer steps: the mechanics, whatever the algorithm is."""

from __future__ import annotations

from enum import StrEnum

import pydantic

from agentenv.learn.config.strict import Strict
from agentenv.trajectory.rows import RowView


class IdleRows(StrEnum):
    """What becomes of rows without any advantage: `DROP` them, or `COUNT` them in the mean that a loss is."""

    DROP = "drop"
    COUNT = "count"


class Batching(StrEnum):
    """How ragged rows share a forward pass. Loss and gradient are the same.

    `PADDED`: one below the other, those of like length together, filled up to the longest. `PACKED`: end to end in one
    line without any filling, kept apart by their positions, which transformers turns into a block-diagonal mask (sdpa)
    or into sequence bounds (flash attention). With sdpa the masked blocks are computed all the same: on a CPU packed
    updates took 1.2 to 2.9 times as long as padded ones, which is why those are the default.
    """

    PADDED = "padded"
    PACKED = "packed"


class Precision(StrEnum):
    """What the layers compute in. Weights, gradients, optimizer, logits, log-probabilities and losses are float32.

    `BFLOAT16` is torch's autocast: the float32 weights are cast for each matrix product. Weights in bfloat16 with a
    float32 copy for the optimizer would take as much memory and be two truths to keep equal. The head stays in float32
    in any case: its rounded logits were what kept sampler and learner apart in MiniMax-M1
    (https://arxiv.org/abs/2506.13585, section 3.2).
    """

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class LoraConfig(Strict):
    """Low-rank adapters of linear layers in place of whole weights (Hu et al. 2021, https://arxiv.org/abs/2106.09685).

    What is served and saved is the sum W + (alpha / rank) · B A in the model's ordinary layout. Adapters
    want about ten times the learning rate of whole weights (Schulman et al. 2025, "LoRA Without Regret").

    Attributes:
        rank: r of A [r, in] and B [out, r]. alpha: scales their product by alpha / r.
        targets: last parts of the layers' names, such as `q_proj`; `None` takes all linear layers but the head.
        dropout: on an adapter's input while training, which makes the ratio noisy.
    """

    rank: int = pydantic.Field(default=16, ge=1)
    alpha: float = pydantic.Field(default=32.0, gt=0)
    targets: tuple[str, ...] | None = pydantic.Field(default=None, min_length=1)
    dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)


class LearnerConfig(Strict):
    """How rows become optimizer steps; the algorithm is in `advantage` and `loss`.

    Attributes:
        lr: learning rate of AdamW, constant.
        epochs: passes over an iteration's rows. minibatches: optimizer steps of each; the episodes are dealt out
            among them anew each time.
        max_grad_norm: longer gradients are scaled down to this norm; the policy's and the critic's apart.
        row_view: how an episode's model calls become rows.
        idle_rows: see its type. Only where nothing but the advantage gives a gradient are they ever left out.
        batching: see its type.
        tokens_per_microbatch: positions per forward pass, padding included; changes speed and memory, never the
            result.
        device: a torch device; `auto` is the GPU where there is one.
        precision: see its type.
        gradient_checkpointing: computes activations again on the way back rather than keeping them: less memory, about
            a third more time, the same gradient.
        lora: trains adapters only; `None` trains all weights.
        threads: torch threads of the update; `None` leaves torch's own setting.
    """

    lr: float = pydantic.Field(default=3e-4, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = pydantic.Field(default=1e-8, gt=0)
    weight_decay: float = pydantic.Field(default=0.0, ge=0)
    max_grad_norm: float = pydantic.Field(default=1.0, gt=0)
    epochs: int = pydantic.Field(default=1, ge=1)
    minibatches: int = pydantic.Field(default=2, ge=1)
    row_view: RowView = RowView.MERGED
    idle_rows: IdleRows = IdleRows.DROP
    batching: Batching = Batching.PADDED
    tokens_per_microbatch: int = pydantic.Field(default=4096, ge=1)
    device: str = pydantic.Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    precision: Precision = Precision.FLOAT32
    gradient_checkpointing: bool = False
    lora: LoraConfig | None = None
    threads: int | None = pydantic.Field(default=None, ge=1)
