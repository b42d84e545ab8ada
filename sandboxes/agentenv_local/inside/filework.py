"""Looks at, and changes to, a sandbox's files, made by a process inside it: what it can be led to is inside as well."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import stat
import sys
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

from agentenv_local.jail.files import Place

_CHUNK = 2**20


def do(place: Place, what: str, arguments: dict[str, Any]) -> int:
    """Does one thing; 0 where it went well, else 1 and a sentence on standard error."""
    try:
        os.chdir(place.work)
        if what in _WORKS:
            _WORKS[what](**arguments)
        else:
            _WORKS_ON_ALL[what](place)
        sys.stdout.flush()
    except (OSError, tarfile.TarError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        os.write(2, f"{arguments.get('path', what)}: {reason}".encode())
        return 1
    return 0


def _read(path: str, limit: int | None) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)  # a pipe must not make it wait
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(0, "it is no file")
    left = limit if limit is not None else sys.maxsize
    while left and (data := os.read(descriptor, min(left, _CHUNK))):
        left -= len(data)
        _write_all(1, data)


def _write(path: str, executable: bool) -> None:
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_NOCTTY, 0o644)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(0, "it is no file")
    while data := os.read(0, _CHUNK):
        _write_all(descriptor, data)
    os.fchmod(descriptor, 0o755 if executable else 0o644)


def _list(path: str) -> None:
    found = []
    with os.scandir(path) as entries:
        for entry in entries:
            details = entry.stat(follow_symlinks=False)
            kind = "folder" if stat.S_ISDIR(details.st_mode) else "file" if stat.S_ISREG(details.st_mode) else "other"
            found.append(
                (os.fsencode(entry.name).decode("utf-8", "replace"), kind, details.st_size if kind == "file" else 0)
            )
    _write_all(1, json.dumps(sorted(found)).encode())


def _usage(place: Place) -> None:
    """Bytes and files in use."""
    if place.apart:
        space = os.statvfs(place.work)
        used = ((space.f_blocks - space.f_bfree) * space.f_frsize, space.f_files - space.f_ffree)
    else:
        sizes = [size for _, root in place.roots for size in _sizes(root)]
        used = (sum(sizes), len(sizes))
    _write_all(1, json.dumps(used).encode())


def _sizes(root: str) -> Iterator[int]:
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            yield os.lstat(os.path.join(folder, name)).st_blocks * 512


def _pack(place: Place) -> None:
    with open(1, "wb", closefd=False) as output, tarfile.open(fileobj=output, mode="w|") as archive:
        for name, root in place.roots:
            archive.add(root, arcname=name, filter=functools.partial(_private, name, root))


def _unpack(place: Place) -> None:
    for _, root in place.roots:
        _clear(root, os.lstat(root).st_dev)
    with open(0, "rb", closefd=False) as source, tarfile.open(fileobj=source, mode="r|") as archive:
        for member in archive:  # made by `_pack`; whatever is in it stays in here
            found = _really(place, member.name)
            if found is None:
                continue
            root, member.name = found
            if member.islnk():
                member.linkname = (_really(place, member.linkname) or found)[1]
            archive.extract(member, root, filter="fully_trusted")


def _really(place: Place, name: str) -> tuple[str, str] | None:
    """The root that a snapshot's path lies in, and the path below it; `None` where there is no such root here."""
    for inside, root in place.roots:
        path = inside.lstrip("/")
        if name == path:
            return root, "."
        if name.startswith(f"{path}/"):
            return root, name[len(path) + 1 :]
    return None


def _clear(folder: str, device: int) -> None:
    """Removes what is in a folder, but for what of the host is shown below it, and the way there."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)
            elif entry.stat(follow_symlinks=False).st_dev == device:
                _clear(entry.path, device)
                with contextlib.suppress(OSError):
                    os.rmdir(entry.path)


def _private(name: str, root: str, member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Files, folders and links of the sandbox's own.

    What is none of them is of use to processes alone, which a snapshot has none of; and an interpreter that lies below
    /tmp on the host is shown there, but is the host's.
    """
    path = root + f"/{member.name}".removeprefix(name)
    own = os.lstat(path).st_dev == os.lstat(root).st_dev
    return member if own and (member.isreg() or member.isdir() or member.issym() or member.islnk()) else None


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


_WORKS: dict[str, Callable[..., None]] = {"read": _read, "write": _write, "list": _list}
_WORKS_ON_ALL: dict[str, Callable[[Place], None]] = {"usage": _usage, "pack": _pack, "unpack": _unpack}
