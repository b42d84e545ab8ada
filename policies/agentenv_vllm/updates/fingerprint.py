"""What weights a server holds, compared with those it was sent.

Read through our worker extension where the server has it, else through `/weight_checker` (0.32). Both can be asked
while the server is paused, so that wrong weights are found before they answer anything. On a CPU vLLM keeps packed
copies of its matrices and leaves the parameters empty: `/weight_checker` then vouches for embeddings and norms alone,
and only the extension, which asks the packed matrices themselves, sees the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentenv_vllm.api import VLLMApi
from agentenv_vllm.errors import ServerRefusedError
from agentenv_vllm.updates.layout import EMBEDDING, HEAD

if TYPE_CHECKING:
    import torch

FUSED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}
"""vLLM keeps these rows of a checkpoint in one matrix, in this order."""

EMPTY = hashlib.sha256(b"").hexdigest()
PAD_ROWS = 64
"""vLLM pads the vocabulary to a multiple of it, with zeros."""

TOLERANCE = {"float32": 2e-6, "bfloat16": 2e-2, "float16": 4e-3}
"""Largest error of an answer for a row, as a share of |row|·|wave|; several times what rounding gives."""


@dataclass(frozen=True, slots=True)
class Held:
    """One parameter as a worker holds it; what the server does not say is `None`."""

    sha256: str | None = None
    answer: tuple[float, ...] | None = None
    shape: tuple[int, ...] | None = None
    dtype: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Names of the server's parameters, by what could be said of them.

    Attributes:
        right: they are what was sent.
        wrong: they are something else.
        unknown: quantised, sharded over workers, or of an architecture whose names are not known here.
    """

    right: tuple[str, ...]
    wrong: tuple[str, ...]
    unknown: tuple[str, ...]


async def read_fingerprint(api: VLLMApi) -> Mapping[str, Held] | None:
    """What the server holds by parameter; `None` where it cannot say. Takes seconds for large models."""
    try:
        workers = await api.collective_rpc("agentenv_weight_fingerprint")
    except ServerRefusedError:
        return await _read_checksums(api)
    if len(workers) != 1 or not isinstance(workers[0], dict):
        return await _read_checksums(api)
    return {_plain(name): _held(entry) for name, entry in workers[0].items()}


async def _read_checksums(api: VLLMApi) -> Mapping[str, Held] | None:
    reply = await api.send("POST", "/weight_checker", {"action": "checksum"}, timeout=600.0)
    sums = reply.body.get("checksums") if reply.status == 200 and isinstance(reply.body, dict) else None
    if not isinstance(sums, dict):
        return None
    workers = {name.rpartition(":")[0] for name in sums}
    if len(workers) > 1:  # every worker holds a part: no part can be told from a wrong one
        return {_plain(name): Held() for name in sums}
    return {_plain(name): Held(sha256=None if digest == EMPTY else digest) for name, digest in sums.items()}


def compare(held: Mapping[str, Held], weights: Mapping[str, torch.Tensor]) -> Comparison:
    """Holds the server's parameters against a checkpoint's tensors. Hashes all of them: call it in a thread."""
    right: list[str] = []
    wrong: list[str] = []
    unknown: list[str] = []
    for name, entry in held.items():
        verdict = _agrees(entry, expected(name, weights))
        (unknown if verdict is None else right if verdict else wrong).append(name)
    return Comparison(tuple(right), tuple(wrong), tuple(unknown))


def expected(name: str, weights: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
    """The tensor a server's parameter should be, made from the checkpoint's; `None` for names not known here.

    >>> import torch
    >>> rows = {f"a.{part}_proj.weight": torch.full((1, 2), float(i)) for i, part in enumerate("qkv")}
    >>> expected("a.qkv_proj.weight", rows)[:, 0].tolist()
    [0.0, 1.0, 2.0]
    """
    import torch

    if name in weights:
        return weights[name].detach()
    if name == HEAD:
        return weights[EMBEDDING].detach() if EMBEDDING in weights else None
    root, _, kind = name.rpartition(".")
    parent, _, module = root.rpartition(".")
    parts = [weights.get(f"{parent}.{part}.{kind}") for part in FUSED.get(module, ())]
    present = [part.detach() for part in parts if part is not None]
    return torch.cat(present) if parts and len(present) == len(parts) else None


def wave(width: int) -> torch.Tensor:
    """The vector that packed matrices are asked with: no two entries equal, none near zero for long; float64, [width].

    The worker extension makes the same one.
    """
    import torch

    return torch.cos(0.7 * torch.arange(width, dtype=torch.float64) + 0.3)


def weights_digest(tensors: Mapping[str, torch.Tensor], dtypes: Mapping[str, str]) -> str:
    """One digest of all tensors, each rounded to its dtype in the checkpoint, as safetensors names it."""
    import torch

    rounded = {"BF16": torch.bfloat16, "F16": torch.float16}
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach()
        total.update(
            _sha256(tensor.to(device="cpu", dtype=rounded.get(dtypes[name], tensor.dtype)).contiguous()).encode()
        )
    return total.hexdigest()


def _agrees(held: Held, wanted: torch.Tensor | None) -> bool | None:
    if wanted is None:
        return None
    if held.shape is not None and held.sha256 is not None and not _same_size(held.shape, tuple(wanted.shape)):
        return None
    verdicts = []
    if held.sha256 is not None:
        verdicts.append(held.sha256 in set(_digests(held, wanted)))
    if held.answer is not None:
        if len(held.answer) != _padded(len(wanted)) and len(held.answer) != len(wanted):
            return None
        verdicts.append(_answers(held, wanted))
    return all(verdicts) if verdicts else None


def _same_size(held: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return held == wanted or held == (_padded(wanted[0]), *wanted[1:])


def _padded(rows: int) -> int:
    return -(-rows // PAD_ROWS) * PAD_ROWS


def _digests(held: Held, wanted: torch.Tensor) -> Iterator[str]:
    """The digests the bytes may have: in the dtype the server tells, or any it may have been started with."""
    import torch

    told = getattr(torch, held.dtype, None) if held.dtype else None
    for dtype in (told,) if told else dict.fromkeys((wanted.dtype, torch.float32, torch.bfloat16, torch.float16)):
        plain = wanted.to(device="cpu", dtype=dtype).contiguous()
        yield _sha256(plain)
        if plain.dim() == 2 and len(plain) % PAD_ROWS:
            yield _sha256(torch.nn.functional.pad(plain, (0, 0, 0, _padded(len(plain)) - len(plain))))


def _sha256(tensor: torch.Tensor) -> str:
    import torch

    return hashlib.sha256(tensor.view(-1).view(torch.uint8).numpy().data).hexdigest()


def _answers(held: Held, wanted: torch.Tensor) -> bool:
    import torch

    assert held.answer is not None
    dtype = getattr(torch, held.dtype or "float32")
    matrix = wanted.to(device="cpu", dtype=dtype).double()
    asked = wave(matrix.shape[1]).to(dtype).double()
    given = torch.tensor(held.answer[: len(matrix)], dtype=torch.float64)
    scale = matrix.norm(dim=1) * asked.norm() + torch.finfo(torch.float64).tiny
    return bool(((matrix @ asked - given).abs() / scale <= TOLERANCE.get(held.dtype or "float32", 2e-2)).all())


def _plain(name: str) -> str:
    """A server's parameter name without the worker's mark and without LoRA's wrapper.

    >>> _plain("dp0:pp0:pcp0:tp0:model.layers.0.mlp.down_proj.base_layer.weight")
    'model.layers.0.mlp.down_proj.weight'
    """
    return name.rpartition(":")[2].replace(".base_layer.", ".")


def _held(entry: Mapping[str, Any]) -> Held:
    answer = entry.get("answer")
    return Held(
        sha256=entry.get("sha256"),
        answer=None if answer is None else tuple(answer),
        shape=tuple(entry["shape"]),
        dtype=entry.get("dtype"),
    )
