"""A small decoder-only language model made from scratch, in a folder layout that transformers and vLLM load."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agentenv_tiny.tokenizer import END_TOKEN, PAD_TOKEN, build_tokenizer

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True)
class TinyConfig:
    """Sizes of the policy. The defaults give about half a million float32 parameters.

    `context` is the largest number of tokens of prompt and answer together; `seed` fixes the initial weights.
    Raises ValueError for sizes that do not fit together.
    """

    layers: int = 2
    hidden: int = 128
    heads: int = 4
    intermediate: int = 384
    initial_std: float = 0.08
    context: int = 512
    vocabulary: int = 512
    rope_theta: float = 10_000.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.hidden % self.heads or (self.hidden // self.heads) % 2:
            raise ValueError(
                f"hidden={self.hidden} must be heads={self.heads} times an even number (rotary embeddings turn pairs)"
            )
        if min(self.layers, self.heads, self.intermediate, self.context) < 1:
            raise ValueError("layers, heads, intermediate and context must each be at least 1")


@dataclass(frozen=True, slots=True)
class TinyPolicy:
    """A model and the tokenizer whose ids it was made for."""

    model: LlamaForCausalLM
    tokenizer: PreTrainedTokenizerFast

    def save(self, folder: str | Path) -> Path:
        """Write config, generation config, safetensors weights, tokenizer and chat template to `folder`."""
        with _without_progress_bars():
            self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
        return Path(folder)


def build_policy(config: TinyConfig | None = None, *, corpus: Iterable[str] | None = None) -> TinyPolicy:
    """Make a policy in memory: tokenizer trained on `corpus` (default: the protocol corpus) and random weights.

    Llama rather than Qwen2, because `AutoTokenizer` replaces the pre-tokenizer of `model_type` qwen2 without a word.
    The global random generator of torch is left as it was.
    """
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    config = config or TinyConfig()
    tokenizer = build_tokenizer(corpus, vocabulary_size=config.vocabulary, context=config.context)
    end_id, pad_id = (tokenizer.convert_tokens_to_ids(token) for token in (END_TOKEN, PAD_TOKEN))
    llama_config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden,
        intermediate_size=config.intermediate,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        max_position_embeddings=config.context,
        initializer_range=config.initial_std,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=end_id,
        pad_token_id=pad_id,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = LlamaForCausalLM(llama_config)
    model.generation_config = GenerationConfig(
        bos_token_id=None, eos_token_id=end_id, pad_token_id=pad_id, do_sample=True, temperature=1.0
    )
    return TinyPolicy(model.eval(), tokenizer)


def create_policy(
    folder: str | Path, config: TinyConfig | None = None, *, corpus: Iterable[str] | None = None
) -> TinyPolicy:
    """`build_policy`, saved to `folder` (made if missing): `create_policy("runs/start", TinyConfig(seed=1))`."""
    policy = build_policy(config, corpus=corpus)
    policy.save(folder)
    return policy


def load_policy(folder: str | Path) -> TinyPolicy:
    """Load what `create_policy` or `TinyPolicy.save` wrote. Raises FileNotFoundError when `folder` holds no model."""
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM

    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder} holds no policy (config.json is missing): make one with create_policy")
    with _without_progress_bars():
        model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return TinyPolicy(model.eval(), AutoTokenizer.from_pretrained(folder))


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    """Two megabytes need no bar, least of all in the middle of a training run's own; the setting is put back."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
