"""Update folders: tensors written whole or not at all, each update to a new folder, old ones removed."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

WEIGHT_SUFFIXES = frozenset({".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack"})


class UpdateFolders:
    """Makes the folders that updates travel in.

    A folder appears under its name when all is in it (written beside and renamed). A name is never used twice: requests
    under way may still ask for the adapter that had it.

    Args:
        root: where they go; the server must see it under the same path. Without one, a temporary folder that `close`
            removes.
        keep: how many of the newest stay. With two, the one served before an update is there while it may be needed.
    """

    def __init__(self, root: str | Path | None = None, *, keep: int = 2) -> None:
        self._temporary = root is None
        self._root = Path(tempfile.mkdtemp(prefix="agentenv-weights-")) if root is None else Path(root).absolute()
        self._root.mkdir(parents=True, exist_ok=True)
        self._keep = keep
        self._written: list[Path] = []
        self._used: set[Path] = set()
        for left_over in self._root.glob(".part-*"):
            shutil.rmtree(left_over, ignore_errors=True)

    def write(
        self,
        version: int,
        tensors: Mapping[str, torch.Tensor],
        *,
        file_name: str = "model.safetensors",
        beside: Iterable[Path] = (),
        texts: Mapping[str, str] | None = None,
    ) -> Path:
        """A new folder with the tensors in one safetensors file, copies of the files `beside`, and text files.

        Blocks for as long as the disk takes: call it in a thread. Raises `OSError` (disk full, no permission).
        """
        from safetensors.torch import save_file

        part = Path(tempfile.mkdtemp(prefix=".part-", dir=self._root))
        try:
            save_file({name: _own(tensor) for name, tensor in tensors.items()}, part / file_name, {"format": "pt"})
            for file in beside:
                shutil.copy2(file, part / file.name)
            for name, text in (texts or {}).items():
                (part / name).write_text(text)
            part.chmod(0o755)
            folder = self._free_name(version)
            os.rename(part, folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        self._written.append(folder)
        return folder

    def discard(self, folder: Path) -> None:
        """Removes an update that is not served."""
        self._written = [written for written in self._written if written != folder]
        shutil.rmtree(folder, ignore_errors=True)

    def prune(self) -> None:
        """Removes all but the newest that were written."""
        for folder in self._written[: -self._keep]:
            shutil.rmtree(folder, ignore_errors=True)
        self._written = self._written[-self._keep :]

    def close(self) -> None:
        """Removes the temporary root. Folders under a root that was given stay: a server may start from the newest."""
        if self._temporary:
            shutil.rmtree(self._root, ignore_errors=True)

    def _free_name(self, version: int) -> Path:
        folder, number = self._root / f"{version:08d}", 0
        while folder in self._used or folder.exists():
            number += 1
            folder = self._root / f"{version:08d}-{number}"
        self._used.add(folder)
        return folder


def model_files(folder: Path) -> list[Path]:
    """What lies beside the weights in a model's folder: configuration, tokenizer, chat template."""
    return [
        file
        for file in sorted(folder.iterdir())
        if file.is_file() and file.suffix not in WEIGHT_SUFFIXES and not file.name.endswith(".index.json")
    ]


def to_json(body: Mapping[str, object]) -> str:
    return json.dumps(body, indent=2) + "\n"


def _own(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor on the CPU, contiguous, with a storage of its own: safetensors refuses shared ones."""
    copy = tensor.detach().to("cpu").contiguous()
    return copy if copy.untyped_storage().nbytes() == copy.nbytes else copy.clone()
