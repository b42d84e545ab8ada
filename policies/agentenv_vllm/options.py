"""`ServerOptions`: how a managed vLLM server is started, and the command line and environment that follow from it."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from agentenv.errors import ConfigError
from agentenv_vllm import worker
from agentenv_vllm.worker import TransferBackend


class LogprobsMode(StrEnum):
    """Of what the logprobs in answers are: vLLM's `--logprobs-mode`."""

    PROCESSED_LOGPROBS = "processed_logprobs"
    """The distribution that was sampled from, after temperature, top-k and top-p: what training needs."""

    RAW_LOGPROBS = "raw_logprobs"
    """The distribution at temperature 1 and without cuts: vLLM's default."""

    PROCESSED_LOGITS = "processed_logits"
    RAW_LOGITS = "raw_logits"


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """The flags of a managed server. `None` leaves a flag away, so that vLLM's own default applies.

    Attributes:
        model_name: what clients ask for; by default the folder's name.
        host: where it listens. Anybody who can reach it can replace its weights: keep it on the loopback interface.
        port: 0 takes a free one.
        dtype: of weights and computation; on a CPU float32 unless told.
        max_model_len: most tokens of prompt and answer together; by default what the model's configuration says.
        max_num_seqs: most requests sampled at a time.
        kv_cache_memory_bytes: on a CPU 256 MiB unless told.
        enforce_eager: no compilation: a quicker start, slower sampling; on a CPU true unless told.
        chunked_prefill: long prompts are read in parts between others' tokens. On a CPU false unless told: there a part
            of a prompt whose request has a seed kills the engine ("CPU Generator does not use offset", 0.32).
        tool_call_parser: how tool calls are read out of the model's text; `None` leaves them in the text.
        enable_lora: adapters can be loaded while it serves, two of them in one batch: requests in flight at an update
            finish on the old one.
        max_lora_rank: of such adapters.
        worker_extension: our methods in the server's workers (`agentenv_vllm.worker`), to ask what weights they have.
        weight_transfer: how tensors travel in the weight-transfer protocol; `None` leaves it off.
        scale_out: the routes that render and generate by token ids (`--enable-scale-out`).
        threads: CPU threads of the engine (`OMP_NUM_THREADS`).
        extra: further arguments, as they are: `("--enable-sleep-mode",)`, or one text as in a shell.
        env: further environment variables.
    """

    model_name: str | None = None
    host: str = "127.0.0.1"
    port: int = 0
    dtype: str | None = None
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    kv_cache_memory_bytes: int | None = None
    enforce_eager: bool | None = None
    chunked_prefill: bool | None = None
    logprobs_mode: LogprobsMode = LogprobsMode.PROCESSED_LOGPROBS
    tool_call_parser: str | None = "hermes"
    enable_lora: bool = False
    max_lora_rank: int | None = None
    worker_extension: bool = True
    weight_transfer: TransferBackend | None = None
    scale_out: bool = True
    threads: int | None = None
    extra: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise ConfigError(f"port must be 0 (any free one) … 65535, got {self.port}")
        if isinstance(self.extra, str):
            object.__setattr__(self, "extra", tuple(shlex.split(self.extra)))

    def for_cpu(self) -> ServerOptions:
        """What is left open set as suits a CPU."""
        return dataclasses.replace(
            self,
            dtype=self.dtype or "float32",
            enforce_eager=True if self.enforce_eager is None else self.enforce_eager,
            kv_cache_memory_bytes=self.kv_cache_memory_bytes or 256 * 2**20,
            chunked_prefill=self.chunked_prefill or False,
            max_num_seqs=self.max_num_seqs or 64,
        )

    def command(self, python: Path, folder: Path, port: int) -> list[str]:
        """The command line: `python -m vllm.entrypoints.openai.api_server …` (`vllm serve` fails in CPU builds)."""
        command = [str(python), "-m", "vllm.entrypoints.openai.api_server"]
        command += ["--model", str(folder), "--served-model-name", self.model_name or folder.name]
        command += ["--host", self.host, "--port", str(port), "--logprobs-mode", self.logprobs_mode.value]
        valued = {
            "--dtype": self.dtype,
            "--max-model-len": self.max_model_len,
            "--max-num-seqs": self.max_num_seqs,
            "--kv-cache-memory-bytes": self.kv_cache_memory_bytes,
            "--max-loras": 2 if self.enable_lora else None,
            "--max-lora-rank": self.max_lora_rank,
        }
        for flag, value in valued.items():
            if value is not None:
                command += [flag, str(value)]
        if self.chunked_prefill is not None:
            command.append("--enable-chunked-prefill" if self.chunked_prefill else "--no-enable-chunked-prefill")
        if self.tool_call_parser is not None:
            command += ["--enable-auto-tool-choice", "--tool-call-parser", self.tool_call_parser]
        if self.worker_extension or self.weight_transfer is not None:
            command += worker.arguments(self.weight_transfer)
        switches = {
            "--enforce-eager": self.enforce_eager,
            "--enable-lora": self.enable_lora,
            "--enable-scale-out": self.scale_out,
        }
        # Requests are in the journal; a line for each would make the log grow by megabytes a minute.
        command.append("--disable-uvicorn-access-log")
        return [*command, *(flag for flag, on in switches.items() if on), *self.extra]

    def environment(self) -> dict[str, str]:
        """This process's environment with what the server needs: the routes of training, and no network."""
        wanted = {
            "VLLM_SERVER_DEV_MODE": "1",
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            "HF_HUB_OFFLINE": "1",
            "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "60",  # longer than our clients keep idle connections
        }
        if self.threads is not None:
            wanted["OMP_NUM_THREADS"] = str(self.threads)
        inherited = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
        return worker.environment({**inherited, **wanted, **self.env})


_NOT_INHERITED = frozenset({"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "OPENAI_API_KEY", "VLLM_API_KEY"})
"""Of another Python, or secrets that the server has no use for."""
