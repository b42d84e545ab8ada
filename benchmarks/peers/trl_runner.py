"""Steps of trl's GRPOTrainer on given rows, through its own training loop. Runs in that peer's virtual environment.

Nothing of trl is imitated: `train()` runs its loop, loss, backward, clipping and optimizer. Replaced is only what would
generate completions. Two ways of cutting the rows into micro-batches:

`eight`: trl's own. It pads the whole batch (prompts on the left, completions on the right), shuffles it and cuts it
    into micro-batches of eight rows each.
`sorted`: rows sorted by length and cut by a budget of padded tokens, each micro-batch padded to its own longest prompt
    and completion, which trl has no setting for.
"""

from __future__ import annotations

import importlib.metadata
import os
import tempfile
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from benchmarks.learner_workload import (
    CLIP_HIGH,
    CLIP_LOW,
    GROUP,
    LR,
    MAX_GRAD_NORM,
    PAD,
    LearnerOptions,
    Sample,
    StepClock,
    load,
    load_samples,
)

ROWS_A_MICRO_BATCH = 8
Inputs = dict[str, torch.Tensor]


def inputs(samples: list[Sample], all_tokens: int) -> Inputs:
    """What trl's `_generate_and_score_completions` would hand to its loss."""
    return {
        "prompt_ids": _padded([each.prompt for each in samples], PAD, left=True),
        "prompt_mask": _padded([[1] * len(each.prompt) for each in samples], 0, left=True),
        "completion_ids": _padded([each.completion for each in samples], PAD),
        "completion_mask": _padded([[1] * len(each.completion) for each in samples], 0),
        "advantages": torch.tensor([each.advantage for each in samples]),
        "old_per_token_logps": _padded([each.logprobs for each in samples], 0.0),
        "num_items_in_batch": torch.tensor(all_tokens),
    }


def _padded(rows: list[Any], value: float, *, left: bool = False) -> torch.Tensor:
    width = max(map(len, rows))
    filling = [[value] * (width - len(row)) for row in rows]
    return torch.tensor([fill + row if left else row + fill for row, fill in zip(rows, filling, strict=True)])


def cut(samples: list[Sample], tokens: int) -> list[list[Sample]]:
    """Samples sorted by length, in parts of at most `tokens` positions as trl pads them."""
    parts: list[list[Sample]] = []
    for sample in sorted(samples, key=len):
        wider = [*parts[-1], sample] if parts else []
        width = max((len(each.prompt) for each in wider), default=0) + max(
            (len(each.completion) for each in wider), default=0
        )
        if wider and len(wider) * width <= tokens:
            parts[-1].append(sample)
        else:
            parts.append([sample])
    return parts


class GivenRows(GRPOTrainer):
    """Trains on rows that are there already, and keeps the loss of each micro-batch.

    Attributes:
        batch: the whole batch, for trl to shuffle and cut.
        parts: the micro-batches, where they are cut already.
    """

    batch: Inputs
    parts: list[Inputs] | None = None
    padded_tokens: int
    micro_losses: list[float]

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        return dict(self.batch)

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        if self.parts is None:
            return super()._prepare_inputs(generation_batch)
        return self.parts[self._step % len(self.parts)]

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any) -> Any:
        loss = super().training_step(model, inputs, num_items_in_batch)
        self.micro_losses.append(float(loss))
        return loss


class Watch(TrainerCallback):
    def __init__(self, clock: StepClock) -> None:
        self.clock = clock

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.clock.begin()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.clock.end()


def settings(options: LearnerOptions, folder: str, micro_batches: int) -> GRPOConfig:
    """Its defaults but for what the comparison fixes and what costs it time (checkpointing, bfloat16, logs)."""
    return GRPOConfig(
        output_dir=folder,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        loss_type="dapo",
        beta=0.0,
        epsilon=CLIP_LOW,
        epsilon_high=CLIP_HIGH,
        num_iterations=1,
        num_generations=GROUP,
        per_device_train_batch_size=ROWS_A_MICRO_BATCH,
        gradient_accumulation_steps=micro_batches,
        learning_rate=LR,
        lr_scheduler_type="constant",
        max_grad_norm=MAX_GRAD_NORM,
        max_steps=options.warm_up + options.steps,
        report_to="none",
        logging_strategy="no",
        save_strategy="no",
        disable_tqdm=True,
    )


def main() -> None:
    options = LearnerOptions.parse()
    torch.set_num_threads(1)
    samples = load_samples(options.folder / "samples.json")
    all_tokens = sum(len(each.completion) for each in samples)
    batch = inputs(samples, all_tokens)
    parts = None
    if options.variant == "sorted":
        parts = [inputs(part, all_tokens) for part in cut(samples, options.tokens)]
    count = len(samples) // ROWS_A_MICRO_BATCH if parts is None else len(parts)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"<pad>": PAD, "<eos>": 1}, unk_token="<pad>")),
        pad_token="<pad>",
        eos_token="<eos>",
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = GivenRows(
            model=load(options.folder),
            reward_funcs=lambda completions, **_: [0.0] * len(completions),
            args=settings(options, folder, count),
            train_dataset=Dataset.from_list([{"prompt": "-"}] * len(samples) * (options.warm_up + options.steps)),
            processing_class=tokenizer,
        )
        trainer.batch, trainer.parts, trainer.micro_losses = batch, parts, []
        clock = StepClock(options.warm_up)
        trainer.add_callback(Watch(clock))
        trainer.train()
    losses = [sum(trainer.micro_losses[at : at + count]) for at in range(0, len(trainer.micro_losses), count)]
    padded = sum(_positions(each) for each in (parts or [batch]))
    clock.report("trl", importlib.metadata.version("trl"), losses, padded).print()


def _positions(batch: Inputs) -> int:
    return batch["prompt_ids"].numel() + batch["completion_ids"].numel()


if __name__ == "__main__":
    main()
