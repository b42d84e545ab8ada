"""A compact forward pass of a Llama-format model over slots of a preallocated key-value cache.

transformers' own forward spends most of its time on bookkeeping at half a million parameters. Here the tokens of all
sequences are packed into one matrix for the linear layers, and only the attention sees the single sequences.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from agentenv_tiny.weights import DecoderWeights

PADDED_SCORES = 2**20
"""Attention scores of one prefill pass and head, padding included: four megabytes."""

_Attend = Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""(layer, queries, keys, values), each [tokens, heads, head size], to mixed values of the same shape."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens to run through the model: they continue `slot`, whose first `start` positions are already cached."""

    slot: int
    start: int
    token_ids: Sequence[int]


class SlotDecoder:
    """The model with room for `slots` sequences. Not thread-safe: one thread owns it.

    `decode` works on the slots 0..n-1 as one view of the cache, without gathering; keep the sequences in use there with
    `move`. `weights` may be assigned between calls; what is cached then belongs to the old weights, so prefill again.
    """

    def __init__(self, weights: DecoderWeights, slots: int) -> None:
        shape = weights.shape
        self.weights = weights
        self.slots = slots
        # Zeros, not empty memory: masked positions get attention weight 0, and 0 times a stray NaN would be NaN.
        self._cache = torch.zeros(2, shape.layers, slots, shape.heads, shape.context, shape.head_size)
        frequencies = 1.0 / shape.rope_theta ** (torch.arange(0, shape.head_size, 2).float() / shape.head_size)
        angles = torch.outer(torch.arange(shape.context).float(), frequencies)
        angles = torch.cat((angles, angles), dim=-1)[:, None, None, :]
        self._cosine, self._sine = angles.cos(), angles.sin()
        self._positions = torch.arange(shape.context)

    @property
    def bytes_per_token(self) -> int:
        """Memory that the keys and values of one token take."""
        return 2 * self.weights.shape.layers * self.weights.shape.hidden * self._cache.element_size()

    @torch.inference_mode()
    def prefill(self, chunks: Sequence[Chunk]) -> torch.Tensor:
        """Run each chunk's tokens, fill its slot and return the logits after its last token, [chunks, vocabulary].

        Chunks of like length run together, which bounds the padding: one long prompt does not make the others long.
        """
        logits = torch.empty(len(chunks), self.weights.shape.vocabulary)
        for group in _groups_of_like_length(chunks):
            logits[group] = self._prefill_group([chunks[index] for index in group])
        return logits

    def _prefill_group(self, chunks: Sequence[Chunk]) -> torch.Tensor:
        lengths = [len(chunk.token_ids) for chunk in chunks]
        longest, end = max(lengths), max(chunk.start + len(chunk.token_ids) for chunk in chunks)
        rows = torch.repeat_interleave(torch.arange(len(chunks)), torch.tensor(lengths))
        columns = torch.cat([self._positions[:length] for length in lengths])
        slot_list = [chunk.slot for chunk in chunks]
        slot_of_chunk = torch.tensor(slot_list)
        # Neighbouring slots are read in place; only scattered ones need a copy of their cache.
        in_place = slot_list == list(range(slot_list[0], slot_list[0] + len(chunks)))
        where = slice(slot_list[0], slot_list[0] + len(chunks)) if in_place else slot_of_chunk
        start_of_chunk = torch.tensor([chunk.start for chunk in chunks])
        slots, positions = slot_of_chunk[rows], start_of_chunk[rows] + columns
        token_ids = torch.tensor([token for chunk in chunks for token in chunk.token_ids])

        query_positions = start_of_chunk[:, None] + self._positions[:longest]
        visible = self._positions[:end] <= query_positions[:, :, None]
        mask = torch.zeros(visible.shape).masked_fill_(~visible, -math.inf)[:, None]
        shape = self.weights.shape
        padded = torch.zeros(len(chunks), longest, shape.heads, shape.head_size)

        def attend(layer: int, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
            self._cache[0, layer, slots, :, positions] = keys
            self._cache[1, layer, slots, :, positions] = values
            padded[rows, columns] = queries
            mixed = functional.scaled_dot_product_attention(
                padded.transpose(1, 2),
                self._cache[0, layer, where, :, :end],
                self._cache[1, layer, where, :, :end],
                attn_mask=mask,
            )
            return mixed.transpose(1, 2)[rows, columns]

        states = self._run(token_ids, positions, attend)
        last = torch.tensor(lengths).cumsum(0) - 1
        return functional.linear(states[last], self.weights.head)

    @torch.inference_mode()
    def decode(self, token_ids: Sequence[int], positions: Sequence[int]) -> torch.Tensor:
        """One token for each of the slots 0..n-1, at `positions`; returns the logits after them, [n, vocabulary]."""
        count, end, heads = len(token_ids), max(positions) + 1, self.weights.shape.heads
        at = torch.tensor(positions)
        slots = torch.arange(count)
        mask = torch.zeros(count, end).masked_fill_(self._positions[:end] > at[:, None], -math.inf)
        mask = mask.repeat_interleave(heads, dim=0)[:, None]
        scale = self.weights.shape.head_size**-0.5

        def attend(layer: int, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
            self._cache[0, layer, slots, :, at] = keys
            self._cache[1, layer, slots, :, at] = values
            cached_keys = self._cache[0, layer].flatten(0, 1)[: count * heads, :end]
            cached_values = self._cache[1, layer].flatten(0, 1)[: count * heads, :end]
            scores = torch.baddbmm(
                mask, queries.reshape(count * heads, 1, -1), cached_keys.transpose(1, 2), alpha=scale
            )
            return torch.bmm(scores.softmax(-1), cached_values).view(count, heads, -1)

        states = self._run(torch.tensor(token_ids), at, attend)
        return functional.linear(states, self.weights.head)

    @torch.inference_mode()
    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of slot `source` to slot `target`."""
        self._cache[:, :, target, :, :length] = self._cache[:, :, source, :, :length]

    @torch.inference_mode()
    def export(self, slot: int, length: int) -> torch.Tensor:
        """A copy of the first `length` cached positions, [2, layers, heads, length, head size]."""
        return self._cache[:, :, slot, :, :length].clone()

    @torch.inference_mode()
    def restore(self, slot: int, cached: torch.Tensor) -> None:
        """Put what `export` returned into `slot`."""
        self._cache[:, :, slot, :, : cached.shape[3]] = cached

    def _run(self, token_ids: torch.Tensor, positions: torch.Tensor, attend: _Attend) -> torch.Tensor:
        """The decoder stack on packed tokens [n]; returns the normalised final states [n, hidden]."""
        weights, shape = self.weights, self.weights.shape
        size, epsilon = (shape.hidden,), shape.norm_epsilon
        cosine, sine = self._cosine[positions], self._sine[positions]
        states = weights.embedding[token_ids]
        for index, layer in enumerate(weights.layers):
            normed = functional.rms_norm(states, size, layer.input_norm, epsilon)
            projected = functional.linear(normed, layer.query_key_value).view(-1, 3, shape.heads, shape.head_size)
            query_key, values = projected[:, :2], projected[:, 2]
            first, second = query_key.chunk(2, dim=-1)
            query_key = query_key * cosine + torch.cat((-second, first), dim=-1) * sine
            mixed = attend(index, query_key[:, 0], query_key[:, 1], values)
            states = states + functional.linear(mixed.reshape(-1, shape.hidden), layer.attention_output)
            normed = functional.rms_norm(states, size, layer.mlp_norm, epsilon)
            gate, up = functional.linear(normed, layer.gate_up).chunk(2, dim=-1)
            states = states + functional.linear(functional.silu(gate) * up, layer.down)
        return functional.rms_norm(states, size, weights.final_norm, epsilon)


def _groups_of_like_length(chunks: Sequence[Chunk]) -> list[list[int]]:
    """Indices of the chunks in groups whose padded attention has at most `PADDED_SCORES` entries a head.

    If all fit into one group they stay in order, so that their slots do.
    """
    longest = max(len(chunk.token_ids) for chunk in chunks)
    last = max(chunk.start + len(chunk.token_ids) for chunk in chunks)
    if len(chunks) * longest * last <= PADDED_SCORES:
        return [list(range(len(chunks)))]
    groups: list[list[int]] = []
    end = 0
    for index in sorted(range(len(chunks)), key=lambda index: len(chunks[index].token_ids)):
        length = len(chunks[index].token_ids)  # the longest so far, since they come in order
        end = max(end, chunks[index].start + length)
        if not groups or (len(groups[-1]) + 1) * length * end > PADDED_SCORES:
            groups.append([])
            end = chunks[index].start + length
        groups[-1].append(index)
    return groups
