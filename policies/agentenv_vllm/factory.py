"""What the name `vllm` makes: a policy out of the options of a command line or a configuration."""

from __future__ import annotations

import os
import shlex
import time
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from agentenv.errors import ConfigError
from agentenv_vllm.api import PauseMode
from agentenv_vllm.options import ServerOptions
from agentenv_vllm.policy import VLLMPolicy, VLLMSettings
from agentenv_vllm.probe import Mode
from agentenv_vllm.process import START_SECONDS, ManagedServer
from agentenv_vllm.progress import StartProgress
from agentenv_vllm.worker import TransferBackend

Choice = TypeVar("Choice", bound=StrEnum)


def make_policy(
    argument: str | None = None,
    *,
    python: str | None = None,
    update: str = "folder",
    pause: str = "keep",
    port: int | None = None,
    model: str | None = None,
    model_folder: str | None = None,
    weights_folder: str | None = None,
    api_key: str | None = None,
    create: bool = False,
    seed: int = 0,
    threads: int | None = None,
    dtype: str | None = None,
    max_model_len: int | None = None,
    max_num_seqs: int | None = None,
    kv_cache_memory_bytes: int | None = None,
    tool_call_parser: str | None = "hermes",
    flags: str = "",
    logs: str | None = None,
    start_timeout: float = START_SECONDS,
    timeout: float = 240.0,
    hang_seconds: float = 30.0,
) -> VLLMPolicy:
    """vLLM: a server of its own for a model's folder, or one that runs: vllm:FOLDER or vllm:http://HOST:PORT/v1.

    Args:
        python: the Python that has vllm, see `agentenv_vllm.interpreter`.
        update: how weights are replaced: folder, transfer or lora.
        pause: what becomes of requests in flight meanwhile: keep or abort.
        port: of a server of our own; by default any free one.
        create: makes a small untrained model, from `seed`, where the folder holds none.
        threads: CPU threads of a server of our own.
        flags: more of them for a server of our own, as in a shell: "--gpu-memory-utilization 0.8".
        logs: the folder for its log; by default runs/vllm, or beside a model that is created.

    The others are fields of `VLLMSettings` and `ServerOptions`.
    """
    if argument is None:
        raise ConfigError("name a model's folder or a server: vllm:FOLDER or vllm:http://HOST:PORT/v1")
    settings = VLLMSettings(
        update=_one_of(Mode, update, "update"),
        pause=_one_of(PauseMode, pause, "pause"),
        model=model,
        model_folder=Path(model_folder) if model_folder is not None else None,
        weights_folder=Path(weights_folder) if weights_folder is not None else None,
        api_key=api_key,
        timeout=timeout,
        hang_seconds=hang_seconds,
    )
    if argument.startswith(("http://", "https://")):
        if flags or port is not None or create or threads is not None:
            raise ConfigError(f"flags, port, create and threads are for a server of ours; {argument} runs already")
        return VLLMPolicy(argument, settings)
    folder = Path(argument)
    if create and not (folder / "config.json").is_file():
        from agentenv_tiny import TinyConfig, create_policy

        create_policy(folder, TinyConfig(seed=seed))
    options = ServerOptions(
        model_name=model,
        port=port or 0,
        dtype=dtype,
        max_model_len=max_model_len,
        max_num_seqs=max_num_seqs,
        kv_cache_memory_bytes=kv_cache_memory_bytes,
        tool_call_parser=tool_call_parser,
        enable_lora=settings.update is Mode.LORA,
        weight_transfer=TransferBackend.FILE if settings.update is Mode.TRANSFER else None,
        threads=threads,
        extra=tuple(shlex.split(flags)),
    )
    log_folder = Path(logs) if logs is not None else folder.parent / "vllm" if create else Path("runs") / "vllm"
    log = log_folder / f"{folder.name}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    server = ManagedServer(
        folder, options, log=log, python=python, start_timeout=start_timeout, progress=StartProgress(log)
    )
    return VLLMPolicy(server, settings)


def _one_of(kind: type[Choice], text: str, name: str) -> Choice:
    try:
        return kind(text)
    except ValueError:
        raise ConfigError(f"{name} is one of {', '.join(kind)}, got {text!r}") from None
