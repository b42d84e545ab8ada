"""A model that says one thing: greedy sampling follows a chain of tokens, whichever server runs it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from agentenv_tiny.vocabulary import Vocabulary

ASSISTANT, END = "<|assistant|>", "<|end|>"


def make_scripted(start: Path, folder: Path, pieces: Sequence[str]) -> list[int]:
    """Write to `folder` a model of the sizes of `start` that answers every chat with these tokens; returns their ids.

    Attention and feed-forward layers add nothing, so that the next token depends on the last one alone: it is the one
    whose row of the head is that one's embedding. No token may therefore occur twice.
    """
    vocabulary = Vocabulary.from_folder(start)
    first, last = vocabulary.id_of(ASSISTANT), vocabulary.id_of(END)
    assert first is not None
    assert last is not None
    answer = [*(vocabulary.literal_bytes.index(piece.encode()) for piece in pieces), last]
    assert len(set(answer)) == len(answer), f"a token occurs twice in {pieces}"
    shutil.copytree(start, folder)
    state = load_file(folder / "model.safetensors")
    save_file(_chained(state, [first, *answer]), folder / "model.safetensors", metadata={"format": "pt"})
    return answer


def _chained(state: dict[str, torch.Tensor], chain: Sequence[int]) -> dict[str, torch.Tensor]:
    silent = {
        name: torch.zeros_like(tensor) if "o_proj" in name or "down_proj" in name else tensor
        for name, tensor in state.items()
    }
    embedding = torch.randn(state["model.embed_tokens.weight"].shape, generator=torch.Generator().manual_seed(0))
    head = torch.zeros_like(embedding)
    for current, following in pairwise(chain):
        head[following] = embedding[current] / embedding.shape[1]
    return silent | {
        "model.embed_tokens.weight": embedding,
        "model.norm.weight": torch.ones_like(state["model.norm.weight"]),
        "lm_head.weight": 20 * head,
    }
