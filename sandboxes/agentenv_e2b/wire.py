"""The messages of E2B's API that are used here, by the names they have there; whatever else they hold is not read."""

from __future__ import annotations

import pydantic
from pydantic.alias_generators import to_camel

from agentenv.sandbox import Entry, EntryKind, Stream


class _Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


# The control plane.


class Egress(_Model):
    """What a sandbox may reach and what it may not; where both lists name something, it may."""

    allow_out: list[str]
    deny_out: list[str]


class NewSandbox(_Model):
    """Asks for a sandbox made from a template, which ends after `timeout` seconds if nobody asks for more."""

    template: str = pydantic.Field(alias="templateID")
    timeout: int
    secure: bool = True
    allow_internet_access: bool = pydantic.Field(alias="allow_internet_access")
    network: Egress | None = None
    metadata: dict[str, str]


class SandboxView(_Model):
    """A sandbox that runs, and what its daemon wants to see of who talks to it."""

    id: str = pydantic.Field(alias="sandboxID")
    domain: str | None = None
    access_token: str | None = pydantic.Field(default=None, alias="envdAccessToken")


class Timeout(_Model):
    """Asks for a sandbox to live for so many seconds from now on."""

    timeout: int


class Problem(_Model):
    """What is said instead of an answer, by the control plane and by the daemon."""

    message: str
    code: int | str = ""


# Processes.


class ProcessConfig(_Model):
    """A program: its arguments without its name, and variables beside the user's own."""

    cmd: str
    args: list[str]
    envs: dict[str, str] = {}


class StartRequest(_Model):
    """Asks for a process, whose events are the answer."""

    process: ProcessConfig
    stdin: bool = False


class Started(_Model):
    """The process runs."""

    pid: int


class Data(_Model):
    """A piece of output, in one of the two."""

    stdout: pydantic.Base64Bytes | None = None
    stderr: pydantic.Base64Bytes | None = None

    def pieces(self) -> list[tuple[Stream, bytes]]:
        """What was written, and where."""
        both = ((Stream.STDOUT, self.stdout), (Stream.STDERR, self.stderr))
        return [(stream, data) for stream, data in both if data]


class Ended(_Model):
    """The process has ended: by itself with an exit code, or as `status` says in Go's words."""

    exit_code: int = 0
    exited: bool = False
    status: str = ""


class ProcessEvent(_Model):
    """One thing that has happened to a process, the only one that is there."""

    start: Started | None = None
    data: Data | None = None
    end: Ended | None = None


class StartResponse(_Model):
    event: ProcessEvent = ProcessEvent()


class StreamEnd(_Model):
    """The last message of a stream: the reason why there are no more, if that is an error."""

    error: Problem | None = None


# Files.


class ListRequest(_Model):
    path: str
    depth: int = 1


class EntryInfo(_Model):
    """One member of a folder. `type` is that of what a link leads to."""

    name: str
    type: str = ""
    size: int = 0
    symlink_target: str | None = None
    is_symlink: bool = False

    def to_entry(self) -> Entry:
        if self.symlink_target is not None or self.is_symlink:
            return Entry(self.name, EntryKind.OTHER, 0)
        kind = _KINDS.get(self.type, EntryKind.OTHER)
        return Entry(self.name, kind, self.size if kind is EntryKind.FILE else 0)


_KINDS = {"FILE_TYPE_FILE": EntryKind.FILE, "FILE_TYPE_DIRECTORY": EntryKind.FOLDER}


class ListResponse(_Model):
    entries: list[EntryInfo] = []
