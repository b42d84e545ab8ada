"""The flags and environment variables of a vLLM server that the fake understands."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.support.fake_vllm.profiles import PROFILES, V0_32, Gate, Profile


class LogprobsMode(StrEnum):
    """`--logprobs-mode`."""

    RAW = "raw_logprobs"
    PROCESSED = "processed_logprobs"


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How a server is started; the defaults are vLLM's, but that development routes and LoRA updates are on.

    `weight_transfer` is the backend of `--weight-transfer-config`; the fake has `file`, whose update is
    `{"path": a safetensors file}`. `block_size` is the CPU's default.
    """

    profile: Profile = V0_32
    model_name: str | None = None
    api_key: str | None = None
    dev_mode: bool = True
    runtime_lora: bool = True
    enable_lora: bool = False
    max_model_len: int | None = None
    max_num_seqs: int = 32
    max_logprobs: int = 20
    logprobs_mode: LogprobsMode = LogprobsMode.RAW
    tool_call_parser: str | None = None
    auto_tool_choice: bool = False
    scale_out: bool = False
    weight_transfer: str | None = None
    worker_extension: str | None = None
    block_size: int = 128
    prefix_caching: bool = True
    seed: int = 0

    def opens(self, gate: Gate) -> bool:
        """Whether a route behind `gate` is there."""
        return {
            Gate.ALWAYS: True,
            Gate.DEV: self.dev_mode,
            Gate.LORA: self.runtime_lora,
            Gate.SCALE_OUT: self.scale_out,
        }[gate]


@dataclass(frozen=True, slots=True)
class CommandLine:
    """What `python -m tests.support.fake_vllm` was called with."""

    folder: Path
    host: str
    port: int
    options: ServerOptions


def read_command_line(arguments: Sequence[str], environment: Mapping[str, str]) -> CommandLine:
    """vLLM's own flags, and `--profile`. Flags that would change nothing here (`--dtype`) are accepted."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.fake_vllm", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="the model; or give --model")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--profile", choices=PROFILES, default="0.32", help="the release to behave like")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one; it is printed")
    parser.add_argument("--served-model-name")
    parser.add_argument("--api-key", default=environment.get("VLLM_API_KEY"))
    parser.add_argument("--max-model-len", type=int)
    parser.add_argument("--max-num-seqs", type=int, default=32)
    parser.add_argument("--max-logprobs", type=int, default=20)
    parser.add_argument("--logprobs-mode", type=LogprobsMode, choices=list(LogprobsMode), default=LogprobsMode.RAW)
    parser.add_argument("--tool-call-parser", choices=["hermes"])
    parser.add_argument("--enable-auto-tool-choice", action="store_true")
    parser.add_argument("--enable-scale-out", action="store_true")
    parser.add_argument("--enable-lora", action="store_true")
    parser.add_argument("--weight-transfer-config", type=json.loads, default={})
    parser.add_argument("--worker-extension-cls")
    parser.add_argument("--block-size", type=int, default=128)
    parser.add_argument("--enable-prefix-caching", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--seed", type=int, default=0)
    for name in ("--dtype", "--kv-cache-memory-bytes", "--max-lora-rank"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    for name in ("--enforce-eager", "--enable-sleep-mode"):
        parser.add_argument(name, action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    folder = given.folder or given.model
    if folder is None:
        parser.error("name the folder of a model")
    options = ServerOptions(
        profile=PROFILES[given.profile],
        model_name=given.served_model_name,
        api_key=given.api_key,
        dev_mode=environment.get("VLLM_SERVER_DEV_MODE") == "1",
        runtime_lora=environment.get("VLLM_ALLOW_RUNTIME_LORA_UPDATING") == "1",
        enable_lora=given.enable_lora,
        max_model_len=given.max_model_len,
        max_num_seqs=given.max_num_seqs,
        max_logprobs=given.max_logprobs,
        logprobs_mode=given.logprobs_mode,
        tool_call_parser=given.tool_call_parser,
        auto_tool_choice=given.enable_auto_tool_choice,
        scale_out=given.enable_scale_out,
        weight_transfer=given.weight_transfer_config.get("backend"),
        worker_extension=given.worker_extension_cls,
        block_size=given.block_size,
        prefix_caching=given.enable_prefix_caching,
        seed=given.seed,
    )
    return CommandLine(folder, given.host, given.port, options)
