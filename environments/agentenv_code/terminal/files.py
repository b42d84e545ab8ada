"""Files on their way from a folder of this machine into a sandbox, and out of a sandbox as data."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from agentenv.errors import ConfigError
from agentenv.sandbox import EntryKind, Sandbox, SandboxFileError
from agentenv.threads import THREADS


def files_below(folder: Path) -> list[tuple[str, Path]]:
    """Every file in a folder with its path relative to it, in order; none where there is no folder.

    Raises:
        ConfigError: there is a link, which may lead anywhere on this machine.
    """
    found = []
    for file in sorted(folder.rglob("*")):
        if file.is_symlink():
            raise ConfigError(f"{file} is a link; a task's files must be its own")
        if file.is_file() and "__pycache__" not in file.parts:
            found.append((file.relative_to(folder).as_posix(), file))
    return found


async def upload_folder(sandbox: Sandbox, folder: Path, path: str) -> None:
    """Copies the files in a folder of this machine into one of the sandbox.

    Raises:
        SandboxFileError: one cannot be written.
    """
    for relative, file in await THREADS.run(lambda: files_below(folder)):
        await sandbox.upload(file, f"{path}/{relative}")


class TooMuchError(SandboxFileError):
    """There are more files than are wanted, or they are larger."""


async def download_tree(sandbox: Sandbox, path: str, *, files: int, size: int) -> dict[str, bytes]:
    """The contents of the files below a folder by their relative paths. Links, pipes and caches are left out.

    Raises:
        TooMuchError: there are more than `files`, or they have more than `size` bytes together.
        SandboxFileError: one cannot be read.
    """
    sizes: dict[str, int] = {}
    folders = [""]
    while folders:
        folder = folders.pop()
        for entry in await sandbox.list(f"{path}/{folder}"):
            if entry.kind is EntryKind.FOLDER and entry.name != "__pycache__":
                folders.append(f"{folder}{entry.name}/")
            elif entry.kind is EntryKind.FILE:
                sizes[f"{folder}{entry.name}"] = entry.size
        if len(sizes) + len(folders) > files or sum(sizes.values()) > size:
            raise TooMuchError(f"{path} holds more than {files} files or {size:,} bytes")
    return {relative: await sandbox.read(f"{path}/{relative}", limit=sizes[relative]) for relative in sorted(sizes)}


async def write_tree(sandbox: Sandbox, contents: Iterable[tuple[str, bytes]], path: str) -> None:
    """Writes files below a folder of the sandbox.

    Raises:
        SandboxFileError: one cannot be written.
    """
    for relative, data in contents:
        await sandbox.write(f"{path}/{relative}", data)
