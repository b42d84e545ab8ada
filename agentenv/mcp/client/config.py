"""Which MCP servers an environment's tools come from, as a configuration says it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

import pydantic

from agentenv.errors import ConfigError
from agentenv.sandbox import MIB, Limits, Network

_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class _Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Handle(_Model):
    """What tells a server which episode a call belongs to.

    The runtime puts it into every call. The model neither sees nor gives it: the argument is not in the schemas it is
    shown, and a call that has it is refused.

    Attributes:
        argument: of the tools, which carries it.
        open: the tool that begins an episode and returns the handle; without one the runtime makes up a random one.
        arguments: of that tool. field: of its structured result, which holds the handle; the argument's name unless
            given.
        close: the tool that ends an episode, if there is one.
    """

    argument: str
    open: str | None = None
    arguments: Mapping[str, Any] = {}
    field: str | None = None
    close: str | None = None


class _Server(_Model):
    """What all servers have.

    Attributes:
        name: for people, and before the names of its tools where two servers have one of the same name.
        tools: the names of those that are offered; all of them unless given.
        handle: how its calls are told apart by episode.
        resources: whether its resources can be listed and read, by two more tools.
        protocol: `auto` finds the newest that both speak; `legacy` insists on those before 2026-07-28.
        start_seconds: until it has told its tools. call_seconds: until it has answered a call.
        longest_result: characters of a result that a model is shown.
    """

    name: str = "server"
    tools: tuple[str, ...] | None = None
    handle: Handle | None = None
    resources: bool = False
    protocol: Literal["auto", "legacy", "2026-07-28"] = "auto"
    start_seconds: float = pydantic.Field(30.0, gt=0.0)
    call_seconds: float = pydantic.Field(30.0, gt=0.0)
    longest_result: int = pydantic.Field(100_000, ge=1)

    @pydantic.field_validator("name")
    @classmethod
    def _speakable(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("a server's name is made of letters, digits, - and _, at most 32")
        return name


class CommandServer(_Server):
    """A server that is a program, spoken to over its standard input and output: one process an episode, in a sandbox.

    Attributes:
        command: the program and its arguments, by their paths in the sandbox. env: variables it gets.
        files: what it needs, put into the sandbox's working folder: names there, paths here.
        sandbox, sandbox_options: the backend, as in `agentenv list sandboxes`.
        network, reachable: what it may reach: nothing, unless this says so.
        memory_bytes, pids, disk_bytes, output_bytes, cpu_seconds, seconds: what it may use in the whole episode.
        warm: how many wait started where many episodes are played.
    """

    command: tuple[str, ...] = pydantic.Field(min_length=1)
    env: Mapping[str, str] = {}
    files: Mapping[str, str] = {}
    sandbox: str = "local"
    sandbox_options: Mapping[str, Any] = {}
    network: Network = Network.NONE
    reachable: tuple[str, ...] = ()
    memory_bytes: int = 1024 * MIB
    pids: int = 128
    disk_bytes: int = 128 * MIB
    output_bytes: int = 256 * MIB
    cpu_seconds: float = 600.0
    seconds: float = 3600.0
    warm: int = pydantic.Field(2, ge=0)

    @property
    def limits(self) -> Limits:
        """Of its sandbox. Raises `ConfigError` where they make no sense."""
        return Limits(
            wall_seconds=self.seconds,
            cpu_seconds=self.cpu_seconds,
            memory_bytes=self.memory_bytes,
            pids=self.pids,
            output_bytes=self.output_bytes,
            disk_bytes=self.disk_bytes,
            network=self.network,
            reachable=self.reachable,
        )

    @property
    def variables(self) -> dict[str, str]:
        """`env`, with `${NAME}` replaced."""
        return {name: expanded(text) for name, text in self.env.items()}


class UrlServer(_Server):
    """A server that runs already, spoken to over streamable HTTP.

    Attributes:
        url: of its endpoint. headers: sent with every request; `${NAME}` stands for a variable of this process.
        shared: whether all episodes use one connection, so that `handle` alone tells them apart. A server of the time
            before 2026-07-28 may keep an episode's state by connection: that one wants `false`.
    """

    url: str
    headers: Mapping[str, str] = {}
    shared: bool = True

    @pydantic.field_validator("url")
    @classmethod
    def _http(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(f"{url!r} is no http:// or https:// URL")
        return url

    @property
    def request_headers(self) -> dict[str, str]:
        """`headers`, with `${NAME}` replaced."""
        return {name: expanded(text) for name, text in self.headers.items()}


class ObjectServer(_Server):
    """A server of this process: an `mcp.server.MCPServer`. Its tools run here, unwalled; for one's own code and tests.

    Attributes:
        server: the object. shared: as for `UrlServer`.
    """

    server: Any
    shared: bool = True


Server = CommandServer | UrlServer | ObjectServer


def server_of(given: Server | Mapping[str, Any] | str) -> Server:
    """A server as an environment's argument: a URL, or a mapping with `command`, `url` or `server`.

    >>> server_of("http://127.0.0.1:8000/mcp").url
    'http://127.0.0.1:8000/mcp'

    Raises:
        ConfigError: it is none of these, or makes no sense.
    """
    if isinstance(given, CommandServer | UrlServer | ObjectServer):
        return given
    fields: Mapping[str, Any] = {"url": given} if isinstance(given, str) else given
    kinds: dict[str, type[CommandServer] | type[UrlServer] | type[ObjectServer]] = {
        "command": CommandServer,
        "url": UrlServer,
        "server": ObjectServer,
    }
    found = [kind for key, kind in kinds.items() if key in fields]
    if len(found) != 1:
        raise ConfigError(
            f"an MCP server has a command or a url (or a server object), and only one; got {dict(fields)}"
        )
    try:
        return found[0].model_validate(fields)
    except pydantic.ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise ConfigError(f"an MCP server's {where}: {first['msg']}") from None


def servers_of(given: Sequence[Server | Mapping[str, Any] | str] | Server | Mapping[str, Any] | str) -> list[Server]:
    """One server or several, each with a name of its own; also as JSON, as a command line has it.

    Raises:
        ConfigError: there is none, or one makes no sense.
    """
    if isinstance(given, str) and given.lstrip()[:1] in ("{", "["):
        try:
            given = json.loads(given)
        except ValueError as problem:
            raise ConfigError(f"the MCP servers are not valid JSON: {problem}") from None
    several = [given] if isinstance(given, str | Mapping | _Server) else list(given)
    servers = [server_of(one) for one in several]
    if not servers:
        raise ConfigError(
            'an environment of MCP servers needs at least one: servers="http://…/mcp", or {"command": ["python3", …]}'
        )
    taken: dict[str, int] = {}
    named = []
    for server in servers:
        taken[server.name] = number = taken.get(server.name, 0) + 1
        named.append(server if number == 1 else server.model_copy(update={"name": f"{server.name}{number}"}))
    return named


def expanded(text: str) -> str:
    """A text with `${NAME}` replaced by the variables of this process.

    Raises:
        ConfigError: one is not set.
    """

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if found is None:
            raise ConfigError(f"{text!r} names the environment variable {match[1]}, which is not set")
        return found

    return _VARIABLE.sub(value, text)


__all__ = ["CommandServer", "Handle", "ObjectServer", "Server", "UrlServer", "server_of", "servers_of"]
