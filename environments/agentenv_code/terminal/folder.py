"""A task as a folder: instruction, settings, environment, tests and solution."""

from __future__ import annotations

import base64
import gzip
import io
import shlex
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agentenv.errors import ConfigError, MissingDataError
from agentenv.tasks import Task
from agentenv_code.terminal.dockerfile import Recipe, read_dockerfile
from agentenv_code.terminal.files import files_below
from agentenv_code.terminal.settings import Settings

_FORMAT = "a task is a folder with task.toml, instruction.md and tests/test.sh (Harbor's format)"
_SOLUTION = '"${TMPDIR:-/tmp}/solution"'


@dataclass(frozen=True, slots=True)
class TaskFolder:
    """One task of Harbor's format.

    Attributes:
        recipe: what of its Dockerfile needs no container; an empty one where it has none.
    """

    path: Path
    instruction: str
    settings: Settings
    recipe: Recipe

    @classmethod
    def read(cls, path: Path) -> TaskFolder:
        """The task in a folder.

        Raises:
            ConfigError: it breaks the format; names the file, and the key or the line.
        """
        for name in ("task.toml", "instruction.md", "tests/test.sh"):
            if not (path / name).is_file():
                raise ConfigError(f"{path / name} is missing; {_FORMAT}")
        settings = Settings.read(path / "task.toml")
        try:
            instruction = (path / "instruction.md").read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path / 'instruction.md'} cannot be read: {error}") from error
        if not instruction:
            raise ConfigError(f"{path / 'instruction.md'} is empty")
        dockerfile = path / "environment" / "Dockerfile"
        return cls(path, instruction, settings, read_dockerfile(dockerfile) if dockerfile.is_file() else Recipe())

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def dockerfile(self) -> Path:
        return self.path / "environment" / "Dockerfile"

    @property
    def tests(self) -> Path:
        return self.path / "tests"

    def task(self, default_split: str) -> Task:
        """The row an episode begins with; the folder is found again by its name."""
        return Task.ask(self.name, self.instruction, split=self.settings.metadata.split or default_split)

    def unsupported(self) -> list[str]:
        """What the task asks for that no backend here gives; a sentence each."""
        settings, environment, verifier = self.settings, self.settings.environment, self.settings.verifier
        found = [f"environment.{name} is not supported" for name in environment.more]
        if settings.steps:
            found.append("steps: tasks of several steps are not supported")
        if environment.os != "linux":
            found.append(f"environment.os is {environment.os}, and only linux is supported")
        if environment.gpus:
            found.append("environment.gpus: sandboxes have none")
        if any("${" in value for table in (environment.env, verifier.env) for value in table.values()):
            found.append("env takes values from this machine's environment, which no sandbox is given")
        if settings.agent.user is not None or verifier.user is not None:
            found.append("user: commands run as the sandbox's own user")
        if any((self.path / "environment").glob("docker-compose.y*ml")):
            found.append("environment/docker-compose.yaml: tasks of several containers are not supported")
        services = {one.service for one in verifier.collect} | {one.service for one in settings.artifacts}
        if verifier.environment is not None or (self.tests / "Dockerfile").exists() or services - {"main"}:
            found.append("a verifier with an image or services of its own is not supported")
        return found

    def solution(self) -> str | None:
        """The command that solves the task, or `None` where it comes without a solution.

        A lone solve.sh is the command itself; with other files beside it, they are unpacked and it is run among them.
        """
        files = files_below(self.path / "solution")
        scripts = dict(files)
        if "solve.sh" not in scripts:
            return None
        variables = "".join(
            f"export {name}={shlex.quote(value)}\n" for name, value in self.settings.solution.env.items()
        )
        if len(files) == 1:
            return variables + scripts["solve.sh"].read_text(encoding="utf-8")
        packed = base64.b64encode(_packed(files)).decode()
        unpack = f"mkdir -p {_SOLUTION}\nbase64 -d <<'END' | tar -xzf - -C {_SOLUTION}\n{packed}\nEND\n"
        return f"{variables}{unpack}bash {_SOLUTION}/solve.sh"


def read_folders(path: Path, names: Sequence[str] | None = None) -> list[TaskFolder]:
    """Every task in a folder of tasks, by name; or the one, where the folder is a task itself.

    Args:
        names: read these alone.

    Raises:
        MissingDataError: there is no such folder, or no task in it.
        ConfigError: a task breaks the format, or a name is not there.
    """
    if (path / "task.toml").is_file():
        found = {path.name: path}
    else:
        found = {file.parent.name: file.parent for file in sorted(path.glob("*/task.toml"))}
    if not found:
        raise MissingDataError(f"there are no tasks in {path}; {_FORMAT}")
    unknown = [name for name in names or () if name not in found]
    if unknown:
        raise ConfigError(f"{path} has no task {', '.join(map(repr, unknown))}; it has {', '.join(found)}")
    return [TaskFolder.read(folder) for name, folder in found.items() if names is None or name in names]


def _packed(files: Sequence[tuple[str, Path]]) -> bytes:
    """The files as a compressed tar archive, the same for the same files."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, file in files:
            member = tarfile.TarInfo(name)
            member.size, member.mode = file.stat().st_size, 0o755
            with file.open("rb") as source:
                archive.addfile(member, source)
    return gzip.compress(stream.getvalue(), mtime=0)
