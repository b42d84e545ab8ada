"""The messages on the wire as models: the check of every request, and the schema at `/openapi.json`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any, Self

import pydantic

from agentenv.sandbox.contract import Entry, EntryKind, Stats, Stream
from agentenv.sandbox.limits import Isolation, Limits, Network, Promise, Promises
from agentenv.sandbox.result import Cause, ExecResult, Output, Usage
from agentenv.sandbox.service.refusals import Code


def _to_bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, Mapping) and value.keys() == {"base64"} and isinstance(value["base64"], str):
            return base64.b64decode(value["base64"], validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise ValueError(str(error)) from error
    raise ValueError('bytes are a text, or {"base64": "…"}')


def _to_json(data: bytes) -> str | dict[str, str]:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _sayable(name: str) -> str:
    """A file's name; what is no UTF-8 in it cannot be said in JSON."""
    return name.encode("utf-8", "replace").decode()


Data = Annotated[
    bytes,
    pydantic.PlainValidator(_to_bytes),
    pydantic.PlainSerializer(_to_json, return_type=Any),
    pydantic.WithJsonSchema(
        {
            "description": 'Bytes: a text where they are UTF-8, otherwise {"base64": "…"}.',
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "properties": {"base64": {"type": "string", "contentEncoding": "base64"}},
                    "required": ["base64"],
                    "additionalProperties": False,
                },
            ],
        }
    ),
]
Above0 = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
Wall = Annotated[Above0 | None, pydantic.Field(description="Seconds, where they are to be less than the sandbox's.")]
Streamed = Annotated[
    bool,
    pydantic.Field(description="Answer with lines of JSON: output as it comes, and at last the result or the error."),
]


class _Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


# Requests.


class LimitsChoice(_Model):
    """Limits of a sandbox; what is left out is as the service was told."""

    wall_seconds: Above0 | None = None
    cpu_seconds: Above0 | None = None
    memory_bytes: pydantic.PositiveInt | None = None
    pids: pydantic.PositiveInt | None = None
    output_bytes: pydantic.PositiveInt | None = None
    disk_bytes: pydantic.PositiveInt | None = None
    files: pydantic.PositiveInt | None = None
    network: Network | None = None
    reachable: tuple[str, ...] | None = None


class CreateSandbox(_Model):
    """Asks for a sandbox."""

    limits: LimitsChoice | None = None


class Execute(_Model):
    """Asks for a command: a line for `/bin/sh`, or a list of arguments."""

    command: str | list[str]
    stdin: Data = b""
    env: dict[str, str] = {}
    cwd: str | None = None
    wall_seconds: Wall = None
    stream: Streamed = False


class RunPython(_Model):
    """Asks for code to be run as the main module of a fresh interpreter."""

    code: str
    stdin: Data = b""
    seed: int | None = None
    wall_seconds: Wall = None
    stream: Streamed = False


class RunInSession(_Model):
    """Asks for code to be run in a session, as at a prompt."""

    code: str
    wall_seconds: Wall = None
    stream: Streamed = False


class Heartbeat(_Model):
    """Renews the leases of these sandboxes."""

    sandboxes: list[str]


# Replies.


class LimitsView(_Model):
    """All limits of a sandbox."""

    wall_seconds: float
    cpu_seconds: float
    memory_bytes: int
    pids: int
    output_bytes: int
    disk_bytes: int
    files: int
    network: Network
    reachable: tuple[str, ...] = ()

    @classmethod
    def of(cls, limits: Limits) -> Self:
        return cls(**{name: getattr(limits, name) for name in cls.model_fields})

    def to_limits(self) -> Limits:
        return Limits(**dict(self))


class SandboxReply(_Model):
    """A sandbox that is open now."""

    sandbox: str
    limits: LimitsView
    isolation: Isolation
    lease: float = pydantic.Field(description="Seconds without a request or heartbeat after which it is closed.")


class SessionReply(_Model):
    """A Python session that is open now."""

    session: str


class OutputView(_Model):
    """What was written to one stream: what was kept of it, and how many bytes more there were."""

    data: Data
    dropped: int


class UsageView(_Model):
    """What an execution used."""

    wall_seconds: float
    cpu_seconds: float
    peak_memory_bytes: int


class ResultReply(_Model):
    """One execution: why it ended, and everything that is known of it."""

    cause: Cause
    exit_code: int | None = pydantic.Field(
        default=None, description="−n where signal n ended it; null where it never began."
    )
    stdout: OutputView
    stderr: OutputView
    usage: UsageView
    isolation: Isolation
    message: str

    @classmethod
    def of(cls, result: ExecResult) -> Self:
        usage = result.usage
        return cls(
            cause=result.cause,
            exit_code=result.exit_code,
            stdout=OutputView(data=result.stdout.data, dropped=result.stdout.dropped),
            stderr=OutputView(data=result.stderr.data, dropped=result.stderr.dropped),
            usage=UsageView(
                wall_seconds=usage.wall_seconds,
                cpu_seconds=usage.cpu_seconds,
                peak_memory_bytes=usage.peak_memory_bytes,
            ),
            isolation=result.isolation,
            message=result.message,
        )

    def to_result(self) -> ExecResult:
        out, err = (Output(stream.data, stream.dropped) for stream in (self.stdout, self.stderr))
        return ExecResult(self.cause, self.exit_code, out, err, Usage(**dict(self.usage)), self.isolation, self.message)


class EntryView(_Model):
    """One member of a folder."""

    name: str
    kind: EntryKind
    size: int


class EntriesReply(_Model):
    """The members of a folder by name."""

    entries: list[EntryView]

    @classmethod
    def of(cls, entries: list[Entry]) -> Self:
        return cls(
            entries=[EntryView(name=_sayable(entry.name), kind=entry.kind, size=entry.size) for entry in entries]
        )

    def to_entries(self) -> list[Entry]:
        return [Entry(entry.name, entry.kind, entry.size) for entry in self.entries]


class StatsReply(_Model):
    """What all of a sandbox uses now; null where its backend cannot tell."""

    memory_bytes: int | None
    pids: int | None
    cpu_seconds: float | None
    disk_bytes: int | None
    files: int | None

    @classmethod
    def of(cls, stats: Stats) -> Self:
        return cls(**{name: getattr(stats, name) for name in cls.model_fields})

    def to_stats(self) -> Stats:
        return Stats(**dict(self))


class HeartbeatReply(_Model):
    """Those of the sandboxes that are open."""

    sandboxes: list[str]


class PromisesReply(_Model):
    """What the backend can promise on the service's host."""

    isolation: Isolation
    kept: dict[Promise, str]
    broken: dict[Promise, str]

    @classmethod
    def of(cls, promises: Promises) -> Self:
        return cls(isolation=promises.isolation, kept=promises.kept, broken=promises.broken)

    def to_promises(self) -> Promises:
        return Promises(self.isolation, self.kept, self.broken)


class ServiceView(_Model):
    """What is served, and what goes on."""

    agentenv: str = pydantic.Field(description="The version of the service.")
    backend: str
    isolation: Isolation
    limits: LimitsView = pydantic.Field(description="Of a sandbox that is created without any.")
    lease: float
    queue_timeout: float
    operation_timeout: float
    max_body: int
    max_sandboxes: int
    max_running: int
    max_queued: int
    sandboxes: int
    running: int
    queued: int


class ErrorView(_Model):
    """Why a request was not done. The last three where there was no room for it."""

    code: Code
    message: str
    result: ResultReply | None = None
    queued: int | None = None
    running: int | None = None
    retry_after: int | None = None


class ErrorReply(_Model):
    """The body of every answer that is an error."""

    error: ErrorView


class PieceView(_Model):
    """A piece of output, as it came."""

    stream: Stream
    data: Data


class StreamLine(_Model):
    """One line of a streamed execution: a piece of output; the last line is the result or the error."""

    output: PieceView | None = None
    result: ResultReply | None = None
    error: ErrorView | None = None
