"""What weights a server holds, compared with those it was sent.

Read through our worker extension where the server has it, else through `/weight_checker` (0.32). Both can be asked
while the server is paused, so that wrong weights are found before they answer anything. On a CPU vLLM keeps packed
copies of its matrices and leaves the parameters empty: `/weight_checker` then vouches for embeddings and norms alone,
and only the extension, which asks the packed matrices themselves, sees the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
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

CHUNK = 2**24
TOLERANCE = {"float32": 2e-6, "bfloat16": 2e-2, "float16": 4e-3}
"""Largest error of an answer for a row, as a share of |row|·|wave|; several times what rounding gives."""


@dataclass(frozen=True, slots=True)
class Held:
    """One parameter as a worker holds it; what the server does not say is `None`.

    Attributes:
        mark: a digest of its bytes: SHA-256, or on a GPU `sums` of them, which need not travel to be computed.
        answer: what the kernel gives for `wave`, [rows]; of matrices that nothing else can see.
    """

    mark: str | None = None
    answer: tuple[float, ...] | None = None
    shape: tuple[int, ...] | None = None
    dtype: str | None = None


Fingerprint = Mapping[str, Held]
"""By a parameter's name in the server, without marks of workers and of LoRA's wrapper."""


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


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one parameter must be found to be: one of the marks (each with its dtype), and near the answer."""

    marks: Mapping[str, str]
    answer: tuple[float, ...]
    tolerance: tuple[float, ...]

    def is_met_by(self, held: Held) -> bool | None:
        """`None` when neither can be compared."""
        verdicts = [held.mark in self.marks] if held.mark is not None and self.marks else []
        if held.answer is not None and self.answer:
            pairs = zip(held.answer, self.answer, self.tolerance, strict=False)  # the server's rows may be padded
            verdicts.append(all(abs(given - right) <= limit for given, right, limit in pairs))
        return all(verdicts) if verdicts else None


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a server must hold after an update. Computed before it, as it reads all weights."""

    parameters: Mapping[str, Wanted]

    @classmethod
    def of(cls, weights: Mapping[str, torch.Tensor], like: Fingerprint) -> Expectation:
        """For `weights` as in a checkpoint, held in the form of an earlier fingerprint of the server."""
        wanted = {name: _wanted(held, expected(name, weights)) for name, held in like.items()}
        return cls({name: each for name, each in wanted.items() if each is not None})

    def compare(self, found: Fingerprint) -> Comparison:
        right: list[str] = []
        wrong: list[str] = []
        unknown: list[str] = []
        for name, held in found.items():
            wanted = self.parameters.get(name)
            met = None if wanted is None else wanted.is_met_by(held)
            (unknown if met is None else right if met else wrong).append(name)
        return Comparison(tuple(right), tuple(wrong), tuple(unknown))

    def with_dtypes(self, found: Fingerprint) -> Fingerprint:
        """The fingerprint with the dtypes that its marks turned out to be of."""
        none: Mapping[str, str] = {}
        marks = {name: wanted.marks for name, wanted in self.parameters.items()}
        return {
            name: replace(held, dtype=held.dtype or marks.get(name, none).get(held.mark or ""))
            for name, held in found.items()
        }


async def read_fingerprint(api: VLLMApi) -> Fingerprint | None:
    """What the server holds; `None` where it cannot say, or each of several workers holds a part of a parameter."""
    try:
        workers = await api.collective_rpc("agentenv_weight_fingerprint")
    except ServerRefusedError:
        return await _read_checksums(api)
    if len(workers) != 1 or not isinstance(workers[0], dict):
        return None
    return {_plain(name): _held(entry) for name, entry in workers[0].items()}


async def _read_checksums(api: VLLMApi) -> Fingerprint | None:
    reply = await api.send("POST", "/weight_checker", {"action": "checksum"}, timeout=600.0)
    sums = reply.body.get("checksums") if reply.status == 200 and isinstance(reply.body, dict) else None
    if not isinstance(sums, dict) or len({name.rpartition(":")[0] for name in sums}) > 1:
        return None
    return {_plain(name): Held(mark=None if digest == EMPTY else digest) for name, digest in sums.items()}


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
    """The vector that packed matrices are asked with; float64, [width]. The worker extension makes the same one."""
    import torch

    return torch.cos(0.7 * torch.arange(width, dtype=torch.float64) + 0.3)


def sums(tensor: torch.Tensor) -> str:
    """Two sums of a tensor's bit patterns modulo 2⁶⁴, the second weighted by place; on whatever device it is.

    The worker extension computes the same. No cryptographic digest: it tells mistakes, not forgeries.

    >>> import torch
    >>> sums(torch.tensor([1, 2, 3], dtype=torch.int32))
    'sums:6:14'
    """
    import torch

    bits = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]
    flat = tensor.detach().contiguous().view(-1).view(bits)
    plain = weighted = 0
    for start in range(0, len(flat), CHUNK):
        part = flat[start : start + CHUNK].to(torch.int64)
        place = torch.arange(start, start + len(part), device=part.device) % 65_521 + 1
        plain += int(part.sum())
        weighted += int((part * place).sum())
    return f"sums:{plain % 2**64}:{weighted % 2**64}"


def sha256(tensor: torch.Tensor) -> str:
    """Of a tensor's bytes."""
    import torch

    raw = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)
    return hashlib.sha256(raw.numpy().data).hexdigest()


def _wanted(held: Held, tensor: torch.Tensor | None) -> Wanted | None:
    if tensor is None:
        return None
    if held.shape is not None and held.mark is not None and held.shape not in (tuple(tensor.shape), _padded(tensor)):
        return None
    marks = dict(_marks(held, tensor)) if held.mark is not None else {}
    if held.answer is None or len(held.answer) not in (len(tensor), _padded(tensor)[0]):
        return Wanted(marks, (), ())
    return Wanted(marks, *_answer(tensor, held.dtype or "float32"))


def _marks(held: Held, tensor: torch.Tensor) -> Iterator[tuple[str, str]]:
    """The marks the tensor may have, in the dtype the server holds it in, or any it may have been started with."""
    import torch

    mark = sums if held.mark is not None and held.mark.startswith("sums:") else sha256
    told = getattr(torch, held.dtype, None) if held.dtype else None
    for dtype in (told,) if told else dict.fromkeys((tensor.dtype, torch.float32, torch.bfloat16, torch.float16)):
        plain, name = tensor.to(dtype), str(dtype).removeprefix("torch.")
        yield mark(plain), name
        missing = _padded(plain)[0] - len(plain)
        if plain.dim() == 2 and missing and held.shape in (None, _padded(plain)):
            yield mark(torch.nn.functional.pad(plain, (0, 0, 0, missing))), name


def _answer(tensor: torch.Tensor, dtype_name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    import torch

    dtype = getattr(torch, dtype_name)
    matrix = tensor.to(device="cpu", dtype=dtype).double()
    asked = wave(matrix.shape[1]).to(dtype).double()
    limits = TOLERANCE.get(dtype_name, 2e-2) * matrix.norm(dim=1) * asked.norm() + 1e-30
    return tuple((matrix @ asked).tolist()), tuple(limits.tolist())


def _padded(tensor: torch.Tensor) -> tuple[int, ...]:
    """Its shape with padded rows."""
    return (-(-len(tensor) // PAD_ROWS) * PAD_ROWS, *tensor.shape[1:])


def _plain(name: str) -> str:
    """A server's parameter name without the worker's mark and without LoRA's wrapper.

    >>> _plain("dp0:pp0:pcp0:tp0:model.layers.0.mlp.down_proj.base_layer.weight")
    'model.layers.0.mlp.down_proj.weight'
    """
    return name.rpartition(":")[2].replace(".base_layer.", ".")


def _held(entry: Mapping[str, Any]) -> Held:
    answer = entry.get("answer")
    return Held(
        mark=entry.get("mark"),
        answer=None if answer is None else tuple(answer),
        shape=tuple(entry["shape"]),
        dtype=entry.get("dtype"),
    )
