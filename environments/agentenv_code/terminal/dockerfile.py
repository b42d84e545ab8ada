"""The part of a Dockerfile that needs no container: files that are copied, and variables that are set."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from agentenv.errors import ConfigError
from agentenv_code.terminal.files import files_below

_INSTRUCTION = re.compile(r"\s*([A-Za-z]+)\s+(.*)", re.DOTALL)
_NOTHING_TO_DO = frozenset({"LABEL", "CMD", "MAINTAINER", "STOPSIGNAL"})


@dataclass(frozen=True, slots=True)
class Copied:
    """A file of the build context and where it goes, relative to the working folder."""

    source: Path
    target: PurePosixPath


@dataclass(frozen=True, slots=True)
class Recipe:
    """What can be laid out without an image.

    Attributes:
        base: the image it builds on. work: the working folder in it.
        files, variables: what it adds to the working folder and to the environment.
        obstacles: a sentence for each line that only a container can follow.
    """

    base: str = ""
    work: str = "/"
    files: tuple[Copied, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    obstacles: tuple[str, ...] = ()

    def holds(self, path: str) -> bool:
        """Whether a path of the image, relative ones from its working folder, lies in that folder."""
        return ".." not in PurePosixPath(path).parts and PurePosixPath(self.work, path).is_relative_to(self.work)


def read_dockerfile(file: Path) -> Recipe:
    """The recipe in `file`, whose folder is the build context.

    Raises:
        ConfigError: it cannot be read, or copies what is not there.
    """
    reading = _Reading(file)
    for number, name, rest in _instructions(file):
        reading.follow(number, name, rest)
    if (file.parent / ".dockerignore").exists():
        reading.obstacles.append(f"{file.parent.name}/.dockerignore is for container engines")
    return Recipe(
        reading.base,
        reading.work,
        tuple(reading.files),
        tuple(reading.variables.items()),
        tuple(reading.obstacles),
    )


def _instructions(file: Path) -> Iterator[tuple[int, str, str]]:
    """(line number, name in capitals, arguments), with continued lines joined and comments dropped."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    gathered, began = "", 1
    for number, line in enumerate(lines, start=1):
        if line.lstrip().startswith("#") or (not gathered and not line.strip()):
            continue
        began = began if gathered else number
        gathered += line
        if gathered.rstrip().endswith("\\"):
            gathered = gathered.rstrip()[:-1] + " "
            continue
        match = _INSTRUCTION.fullmatch(gathered)
        yield began, match[1].upper() if match else gathered.strip(), match[2].strip() if match else ""
        gathered = ""


class _Reading:
    """A Dockerfile being read."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._context = file.parent
        self.base, self.work = "", "/"
        self.files: list[Copied] = []
        self.variables: dict[str, str] = {}
        self.obstacles: list[str] = []

    def follow(self, number: int, name: str, rest: str) -> None:
        where = f"{self._file.parent.name}/{self._file.name}:{number}"
        match name:
            case "FROM" if not self.base:
                self.base = rest.split()[0]
            case "WORKDIR" if self.work in ("/", rest.rstrip("/")) and rest.startswith("/"):
                self.work = rest.rstrip("/") or "/"
            case "ENV":
                self._set(where, rest)
            case "COPY":
                self._copy(where, rest)
            case _ if name in _NOTHING_TO_DO:
                pass
            case _:
                self.obstacles.append(f"{where}: {name} needs a container")

    def _set(self, where: str, rest: str) -> None:
        pairs = [part.partition("=") for part in shlex.split(rest)]
        if "$" in rest or not all(equals for _, equals, _ in pairs):
            self.obstacles.append(
                f"{where}: only ENV NAME=value without references can be followed outside of a container"
            )
            return
        self.variables.update((name, value) for name, _, value in pairs)

    def _copy(self, where: str, rest: str) -> None:
        parts = rest.split()
        if len(parts) < 2 or parts[0].startswith(("--", "[")) or "$" in rest:
            self.obstacles.append(f"{where}: this form of COPY needs a container")
            return
        *sources, target = parts
        folder = self._inside(target)
        if folder is None:
            self.obstacles.append(f"{where}: {target} lies outside of the working folder")
            return
        into = target.endswith(("/", ".")) or folder == PurePosixPath() or len(sources) > 1
        for pattern in sources:
            found = sorted(self._context.glob(pattern.lstrip("/"))) if pattern != "." else [self._context]
            if not found:
                raise ConfigError(f"{where} copies {pattern}, which is not there")
            for source in found:
                self.files.extend(self._copied(source, folder, into=into))

    def _inside(self, target: str) -> PurePosixPath | None:
        """The target below the working folder; `None` where it lies elsewhere."""
        path = PurePosixPath(self.work, target)
        inside = self.work != "/" and ".." not in path.parts and path.is_relative_to(self.work)
        return path.relative_to(self.work) if inside else None

    def _copied(self, source: Path, target: PurePosixPath, *, into: bool) -> Iterator[Copied]:
        """A file, or what is in a folder; the Dockerfile itself is of no use to anybody."""
        if source.is_symlink():
            raise ConfigError(f"{source} is a link; a task's files must be its own")
        if not source.is_dir():
            yield Copied(source, target / source.name if into else target)
            return
        for relative, file in files_below(source):
            if file != self._file:
                yield Copied(file, target / relative)
