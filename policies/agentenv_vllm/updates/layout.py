"""`ModelLayout`: which tensors a served model has, so that an update that does not fit is refused before it is sent."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentenv.errors import ConfigError, nearest
from agentenv_vllm.errors import WeightUpdateError

if TYPE_CHECKING:
    import torch

HEAD = "lm_head.weight"
EMBEDDING = "model.embed_tokens.weight"


class WeightsMisfitError(WeightUpdateError):
    """The weights do not fit the served model; the server was not touched."""


@dataclass(frozen=True, slots=True)
class ModelLayout:
    """Names and sizes of a model's tensors, in the order of its files.

    Attributes:
        sizes: as in the checkpoint: one entry per tensor, its shape.
        dtypes: as safetensors names them: "F32", "BF16", ...

    Example:
        layout = ModelLayout.read("runs/start")
        fitting = layout.fit(model.state_dict())
    """

    sizes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]

    @classmethod
    def read(cls, folder: str | Path) -> ModelLayout:
        """Reads the headers of the folder's safetensors files, not the tensors.

        Raises `ConfigError` when there are none or one cannot be read.
        """
        files = sorted(Path(folder).glob("*.safetensors"))
        if not files:
            raise ConfigError(f"{folder} holds no *.safetensors: save the model there with save_pretrained")
        entries = {name: entry for file in files for name, entry in read_header(file).items()}
        return cls(
            {name: tuple(entry["shape"]) for name, entry in entries.items()},
            {name: entry["dtype"] for name, entry in entries.items()},
        )

    def fit(self, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The weights under the names of the checkpoint and in its order: all of them, and nothing else.

        A state dict names an output head that is tied to the embedding twice, a checkpoint once; the second is left
        out if it is the same. The tensors are not copied.

        Raises:
            WeightsMisfitError: a tensor is missing, unknown, of another shape, no floating-point one where the
                checkpoint has one, or holds NaN or infinity.
        """
        extra = [name for name in weights if name not in self.sizes and not self._is_tied_head(name, weights)]
        if extra:
            hint = nearest(extra[0], self.sizes)
            raise WeightsMisfitError(f"{_refused(extra[0])}: the served model has no tensor of that name.{hint}")
        missing = [name for name in self.sizes if name not in weights]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise WeightsMisfitError(f"{_refused(missing[0])}: it is missing{more}. Give the whole state dict.")
        for name, size in self.sizes.items():
            self._check(name, size, weights[name])
        return {name: weights[name] for name in self.sizes}

    def _check(self, name: str, size: tuple[int, ...], tensor: torch.Tensor) -> None:
        import torch

        if tuple(tensor.shape) != size:
            raise WeightsMisfitError(f"{_refused(name)}: its shape is {tuple(tensor.shape)}, the served model's {size}")
        if not self.dtypes[name].startswith(("F", "BF")):
            return
        if not tensor.is_floating_point():
            raise WeightsMisfitError(f"{_refused(name)}: its dtype is {tensor.dtype}, the served model's a float")
        if not bool(torch.isfinite(tensor.detach()).all()):
            raise WeightsMisfitError(f"{_refused(name)}: it holds NaN or infinity")

    def _is_tied_head(self, name: str, weights: Mapping[str, torch.Tensor]) -> bool:
        import torch

        embedding = weights.get(EMBEDDING)
        return name == HEAD and embedding is not None and torch.equal(weights[name].detach(), embedding.detach())


def read_header(file: Path) -> dict[str, dict[str, Any]]:
    """The header of a safetensors file without its metadata: 8 bytes of length, little-endian, then JSON."""
    try:
        with file.open("rb") as raw:
            (length,) = struct.unpack("<Q", raw.read(8))
            if length > file.stat().st_size:
                raise ValueError(f"its header would have {length} bytes")
            header: dict[str, dict[str, Any]] = json.loads(raw.read(length))
    except (OSError, ValueError, struct.error) as error:
        raise ConfigError(f"{file} is no safetensors file ({error}): save the model again") from error
    header.pop("__metadata__", None)
    return header


def _refused(name: str) -> str:
    return f"The weight update is refused, the old weights serve on. {name}"
