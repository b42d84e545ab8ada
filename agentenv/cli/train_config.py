"""What `agentenv train` reads: the training configuration and the policy it is for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pydantic

from agentenv.config import load_config
from agentenv.errors import ConfigError
from agentenv.learn.config import TrainConfig


class TrainRun(TrainConfig):
    """A training configuration that also names its policy.

    Attributes:
        policy: as after `--policy`: `tiny:FOLDER`; `{run}` in it stands for the run folder.
        policy_options: options of its factory.
    """

    policy: str
    policy_options: dict[str, pydantic.JsonValue] = pydantic.Field(default_factory=dict)

    @property
    def training(self) -> TrainConfig:
        """The configuration without the policy."""
        return TrainConfig.model_validate(self.model_dump(exclude={"policy", "policy_options"}))

    @classmethod
    def load(cls, file: Path, overrides: Sequence[str], policy: str | None) -> TrainRun:
        """The file with what the command line says; `policy` replaces the file's.

        A policy without an argument keeps the file's, so that `--policy vllm` for `tiny:FOLDER` serves the same model
        by another server.
        """
        if policy is None:
            return load_config(cls, file, overrides)
        if ":" not in policy:
            try:
                _, colon, argument = load_config(cls, file, overrides).policy.partition(":")
                policy += colon + argument
            except ConfigError:  # said again below, unless all that is missing is the policy
                pass
        return load_config(cls, file, [*overrides, f"policy={policy}"])
