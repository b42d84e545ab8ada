"""What a vLLM server is started with so that weights can be sent to it through files and its weights can be checked.

vLLM runs in an interpreter of its own, which need not have agentenv, and whose packages (torch above all) must not be
hidden by those of the interpreter agentenv runs in. So the module that vLLM imports lies alone in this folder, which
is the one folder to put on its `PYTHONPATH`:

    PYTHONPATH=<PYTHON_PATH> python -m vllm.entrypoints.openai.api_server ... \\
        --worker-extension-cls agentenv_vllm_worker.WorkerExtension \\
        --weight-transfer-config '{"backend": "file"}'

`arguments(backend)` and `environment()` give both. With `nccl` in place of `file` the same extension serves the
checks alone. Both flags are optional: `updates.folder` needs neither, and `updates.fingerprint` does without the
extension where the server has `/weight_checker` (0.32).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

PYTHON_PATH = Path(__file__).parent
"""The folder for vLLM's `PYTHONPATH`; it holds one importable module."""

EXTENSION = "agentenv_vllm_worker.WorkerExtension"
"""For `--worker-extension-cls`."""


class TransferBackend(StrEnum):
    """How tensors travel in vLLM's weight-transfer protocol."""

    FILE = "file"
    """Safetensors in a folder that trainer and server both see; on any device. Brought by the extension."""

    NCCL = "nccl"
    """GPU to GPU; vLLM's own."""


def arguments(backend: TransferBackend | None = None) -> list[str]:
    """The server's command-line arguments; without a backend the weight-transfer protocol stays off.

    >>> arguments(TransferBackend.FILE)[2:]
    ['--weight-transfer-config', '{"backend": "file"}']
    """
    extension = ["--worker-extension-cls", EXTENSION]
    return extension if backend is None else [*extension, "--weight-transfer-config", json.dumps({"backend": backend})]


def environment(base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables of `base` with our folder first on the `PYTHONPATH`."""
    path = os.pathsep.join(part for part in (str(PYTHON_PATH), base.get("PYTHONPATH", "")) if part)
    return {**base, "PYTHONPATH": path}
