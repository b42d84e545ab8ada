"""What was measured: the evaluation protocol, its hash, and the run folder that holds one protocol only."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pydantic

import agentenv
from agentenv.errors import ConfigError
from agentenv.policy.contract import Sampling
from agentenv.registry import EnvSpec

CONFIG = "config.json"
JOURNAL = "journal.sqlite"
SUMMARY = "summary.json"


class Protocol(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Everything two evaluations must share for their numbers to be comparable, and the policy that was measured.

    Attributes:
        fingerprint: of the environment's specification and source.
        tasks: how many were asked for. samples: episodes per task.
        success_at: an episode succeeds with at least this return; `None` when the environment has no upper bound.
    """

    environment: str
    kwargs: dict[str, pydantic.JsonValue]
    fingerprint: str
    split: str
    tasks: int = pydantic.Field(ge=1)
    samples: int = pydantic.Field(ge=1)
    seed: int
    sampling: dict[str, pydantic.JsonValue]
    policy: str
    success_at: float | None

    @classmethod
    def of(
        cls, spec: EnvSpec, policy: str, *, tasks: int, samples: int, split: str, seed: int, sampling: Sampling
    ) -> Protocol:
        top = spec.reward_range[1]
        try:
            return cls(
                environment=spec.id,
                kwargs=spec.kwargs,
                fingerprint=spec.fingerprint(),
                split=split,
                tasks=tasks,
                samples=samples,
                seed=seed,
                sampling=json.loads(json.dumps(dataclasses.asdict(sampling))),
                policy=policy,
                success_at=top if abs(top) != float("inf") else None,
            )
        except pydantic.ValidationError as error:
            detail = error.errors()[0]
            raise ConfigError(f"{detail['loc'][0]} = {detail['input']!r}: {detail['msg']}") from error

    @property
    def hash(self) -> str:
        """12 hexadecimal digits over every field."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()[:12]

    def differences(self, other: Protocol) -> list[str]:
        """One line per field that differs, this side first."""
        mine, theirs = _flat(self.model_dump(mode="json")), _flat(other.model_dump(mode="json"))
        absent = "(not set)"
        return [
            f"{key}: {mine.get(key, absent)} ≠ {theirs.get(key, absent)}"
            for key in sorted(mine.keys() | theirs.keys())
            if mine.get(key, absent) != theirs.get(key, absent)
        ]


def claim_run_folder(folder: Path, protocol: Protocol) -> None:
    """Makes the folder this protocol's, or makes sure that it already is.

    Raises:
        ConfigError: the folder holds a run of another protocol, or something else altogether.
    """
    path = folder / CONFIG
    if path.exists():
        there = read_protocol(folder)
        if there != protocol:
            lines = "".join(f"\n  {line}" for line in there.differences(protocol))
            raise ConfigError(f"{folder} holds a run of another protocol; give another --out. What differs:{lines}")
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty and no run folder; give another --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be made: {error.strerror}") from error
    config = {
        "protocol": protocol.model_dump(mode="json"),
        "protocol_hash": protocol.hash,
        "agentenv": agentenv.__version__,
    }
    write_json(path, config)


def read_protocol(folder: Path) -> Protocol:
    """The protocol of a run folder. Raises `ConfigError` where there is none."""
    path = folder / CONFIG
    try:
        return Protocol.model_validate(json.loads(path.read_text(encoding="utf-8"))["protocol"])
    except OSError as error:
        raise ConfigError(f"{folder} is no run folder: {path.name} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is damaged or of another version: {error}") from error


def write_json(path: Path, value: Any) -> None:
    """Writes a file that is whole at any moment, also when the process dies."""
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(path)


def _flat(values: dict[str, Any], at: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            flat.update(_flat(value, f"{at}{key}."))
        elif value != {}:
            flat[f"{at}{key}"] = json.dumps(value, ensure_ascii=False)
    return flat
