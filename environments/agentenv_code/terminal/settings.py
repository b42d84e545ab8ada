"""task.toml of a Harbor task (schema 1.4 and before): what is read of it, and what is wrong with one.

Field names and defaults are Harbor's; keys that are not known are left alone, as Harbor leaves them.
"""

from __future__ import annotations

import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pydantic

from agentenv.errors import ConfigError

_MEGABYTES = {"K": 1 / 1024, "M": 1, "G": 1024}
Seconds = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
Megabytes = Annotated[int, pydantic.Field(gt=0)]


class NetworkMode(StrEnum):
    """What a task may reach."""

    NO_NETWORK = "no-network"
    PUBLIC = "public"
    ALLOWLIST = "allowlist"


class VerifierMode(StrEnum):
    """Where the tests run: where the agent worked, or in a place of their own that is given its artifacts."""

    SHARED = "shared"
    SEPARATE = "separate"


class Collect(pydantic.BaseModel, frozen=True):
    """A command that makes artifacts of the agent's work, run where it worked."""

    command: str
    service: str = "main"
    timeout_sec: Seconds = 60.0
    user: str | int | None = None


class Verifier(pydantic.BaseModel, frozen=True):
    timeout_sec: Seconds = 600.0
    env: dict[str, str] = {}
    user: str | int | None = None
    network_mode: NetworkMode | None = None
    environment_mode: VerifierMode | None = None
    environment: dict[str, Any] | None = None
    collect: tuple[Collect, ...] = ()

    @property
    def separate(self) -> bool:
        """Whether the tests run in a sandbox that the agent has never seen."""
        mode = self.environment_mode
        return mode is VerifierMode.SEPARATE or (mode is None and self.environment is not None)


class Agent(pydantic.BaseModel, frozen=True):
    timeout_sec: Seconds | None = None
    user: str | int | None = None
    network_mode: NetworkMode | None = None


class Solution(pydantic.BaseModel, frozen=True):
    env: dict[str, str] = {}


class Artifact(pydantic.BaseModel, frozen=True):
    """A file or folder of the agent's that a separate verifier gets, at the same path."""

    source: str
    service: str = "main"


class Environment(pydantic.BaseModel, frozen=True):
    """Where the agent works. What Harbor has beyond this is in `more`, so that it can be refused by name."""

    build_timeout_sec: Seconds = 600.0
    docker_image: str | None = None
    os: str = "linux"
    cpus: float | None = None
    memory_mb: Megabytes | None = None
    storage_mb: Megabytes | None = None
    gpus: int | None = None
    network_mode: NetworkMode | None = None
    env: dict[str, str] = {}
    more: tuple[str, ...] = ()

    @pydantic.model_validator(mode="before")
    @classmethod
    def _older_spellings(cls, data: Any) -> Any:
        """`memory = "2G"`, `storage = "10G"` and `allow_internet`, as files before schema 1.3 have them."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        for name in ("memory", "storage"):
            if isinstance(size := data.pop(name, None), str):
                data.setdefault(f"{name}_mb", _megabytes(size))
        if isinstance(allowed := data.pop("allow_internet", None), bool):
            data.setdefault("network_mode", NetworkMode.PUBLIC if allowed else NetworkMode.NO_NETWORK)
        beyond = ("tpu", "mcp_servers", "skills_dir", "healthcheck")
        return {**data, "more": tuple(name for name in beyond if data.get(name))}


class Metadata(pydantic.BaseModel, frozen=True):
    """Harbor's free table. Two keys of it mean something here.

    Attributes:
        local_programs: the programs the task needs; saying so promises that it needs nothing else of its image, and
            that its files name no absolute path. Without it a task plays in its image alone.
        split: which split the task belongs to, if it says so.
    """

    local_programs: tuple[str, ...] | None = None
    split: str | None = None


class Settings(pydantic.BaseModel, frozen=True):
    """A whole task.toml."""

    schema_version: str = "1.0"
    metadata: Metadata = Metadata()
    verifier: Verifier = Verifier()
    agent: Agent = Agent()
    environment: Environment = Environment()
    solution: Solution = Solution()
    artifacts: tuple[Artifact, ...] = ()
    steps: tuple[Any, ...] = ()

    @pydantic.model_validator(mode="before")
    @classmethod
    def _shorthands(cls, data: Any) -> Any:
        """`version` for `schema_version`, and artifacts that are nothing but a path."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        if "version" in data:
            data.setdefault("schema_version", data["version"])
        if isinstance(found := data.get("artifacts"), list):
            data["artifacts"] = [{"source": one} if isinstance(one, str) else one for one in found]
        return data

    @pydantic.field_validator("schema_version")
    @classmethod
    def _known_version(cls, value: str) -> str:
        if value.partition(".")[0] != "1":
            raise ValueError(f"version {value!r} is not known; this reads 1.0 to 1.4")
        return value

    @classmethod
    def read(cls, file: Path) -> Settings:
        """The settings in a file.

        Raises:
            ConfigError: it is no TOML, or breaks the format; says which key, and how.
        """
        try:
            return cls.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{file} cannot be read: {error}") from error
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            key = ".".join(str(step) for step in first["loc"]) or "the file"
            raise ConfigError(f"{file}: {key}: {first['msg'].removeprefix('Value error, ')}") from error


def _megabytes(size: str) -> int:
    """
    >>> _megabytes("2G"), _megabytes("512M")
    (2048, 512)
    """
    number, unit = size.strip()[:-1], size.strip()[-1:].upper()
    try:
        return int(float(number) * _MEGABYTES[unit])
    except (KeyError, ValueError):
        raise ValueError(f"{size!r} is no size; write it as '512M' or '2G'") from None
