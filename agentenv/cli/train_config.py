"""What `agentenv train` reads: the training configuration and the policy it is for."""

from __future__ import annotations

import pydantic

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
