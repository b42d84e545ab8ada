"""Weight updates of a serving vLLM behind one interface: `WeightUpdater`, and three ways to make one.

    updater = make_updater("folder", api, "runs/start", "policy", PauseMode.KEEP)
    await updater.start(probe.routes)
    await updater.publish(model.state_dict(), version=1)

| way | what travels | needs |
| --- | --- | --- |
| folder | a `save_pretrained` folder, `reload_weights` | 0.16 with `VLLM_SERVER_DEV_MODE=1` |
| transfer | vLLM's weight-transfer protocol: a file, or GPU to GPU by NCCL | 0.16 with `--weight-transfer-config` |
| lora | an adapter's folder, a name for each version, no pause | `--enable-lora` |
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agentenv.errors import ConfigError
from agentenv_vllm.api import PauseMode, VLLMApi
from agentenv_vllm.updates.base import UpdateReport, UpdateSettings, WeightUpdater
from agentenv_vllm.updates.file_transport import FileTransport
from agentenv_vllm.updates.files import UpdateFolders
from agentenv_vllm.updates.folder import FolderUpdater
from agentenv_vllm.updates.layout import WeightsMisfitError
from agentenv_vllm.updates.lora import LoRAShape, LoRAUpdater
from agentenv_vllm.updates.nccl_transport import NCCLTransport
from agentenv_vllm.updates.transfer import TransferUpdater, Transport
from agentenv_vllm.worker import TransferBackend

__all__ = [
    "FileTransport",
    "FolderUpdater",
    "LoRAShape",
    "LoRAUpdater",
    "NCCLTransport",
    "TransferUpdater",
    "Transport",
    "UpdateFolders",
    "UpdateReport",
    "UpdateSettings",
    "WeightUpdater",
    "WeightsMisfitError",
    "make_updater",
]


def make_updater(
    way: str,
    api: VLLMApi,
    model_folder: str | Path,
    model_name: str,
    pause: PauseMode = PauseMode.KEEP,
    *,
    backend: str | None = None,
    folders: UpdateFolders | None = None,
) -> WeightUpdater[Any]:
    """An updater, not started yet.

    Args:
        way: folder, transfer or lora.
        backend: of `--weight-transfer-config`, for transfer: file (the default) or nccl.
        folders: where files go; by default a temporary folder that is removed at the end.
    """
    settings = UpdateSettings(pause=pause)
    if way == "folder":
        return FolderUpdater(api, model_folder, model_name, settings, folders=folders)
    if way == "lora":
        return LoRAUpdater(api, model_folder, model_name, settings, folders=folders)
    if way == "transfer":
        nccl = backend == TransferBackend.NCCL.value
        transport: Transport = NCCLTransport() if nccl else FileTransport(folders)
        return TransferUpdater(api, model_folder, model_name, settings, transport=transport)
    raise ConfigError(f"weights are replaced by folder, transfer or lora, not {way!r}")
