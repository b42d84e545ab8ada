"""An environment server's tasks and specification, read over plain HTTP wherever they are needed."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections import OrderedDict
from typing import Any

import pydantic

from agentenv.errors import ConfigError
from agentenv.gateway.environments.client_errors import ServerUnreachable, raise_error
from agentenv.gateway.environments.connection import KEY_VARIABLE
from agentenv.gateway.environments.wire import REFERENCE
from agentenv.messages import Wire
from agentenv.registry import EnvSpec
from agentenv.rollout.codec import task_from_wire
from agentenv.tasks import Task, TaskSet

TIMEOUT_S = 60.0
_PAGE = 200
_PAGES = 16


class RemoteTasks(TaskSet):
    """The tasks of an environment server, read page by page.

    A row comes without its answer and data, and with a reference in their place, unless the server was started to
    show them. It is as good as the whole row for playing it at that server. Reading blocks the thread it happens in.

    Args:
        url: of the server. split: which tasks. shuffle: a seed; `None` as they stand.
        api_key: by default the environment variable `AGENTENV_ENVIRONMENT_KEY`.
    """

    def __init__(self, url: str, split: str, shuffle: int | None = None, *, api_key: str | None = None) -> None:
        self._url = checked_url(url)
        self._split = split
        self._shuffle = shuffle
        self._key = api_key
        self._pages: OrderedDict[int, list[Task]] = OrderedDict()
        self._size: list[int | None] = []

    @property
    def size(self) -> int | None:  # type: ignore[override]
        if not self._size:
            self._page(0)
        return self._size[0]

    def task(self, index: int) -> Task:
        number, position = divmod(index, _PAGE)
        page = self._page(number)
        if index < 0 or position >= len(page):
            raise IndexError(f"task {index} of {self.size}")
        return page[position]

    def shuffle(self, seed: int) -> TaskSet:
        """As `TaskSet.shuffle`, in the very order the environment's own tasks would have; done by the server."""
        if self._shuffle is not None:
            return super().shuffle(seed)
        return RemoteTasks(self._url, self._split, seed, api_key=self._key)

    def _page(self, number: int) -> list[Task]:
        if number not in self._pages:
            query: dict[str, Any] = {"split": self._split, "offset": number * _PAGE, "limit": _PAGE}
            if self._shuffle is not None:
                query["shuffle"] = self._shuffle
            reply = fetch(self._url, f"/tasks?{urllib.parse.urlencode(query)}", self._key)
            self._size = [reply["size"]]
            self._pages[number] = [task_of(row) for row in reply["tasks"]]
            if len(self._pages) > _PAGES:
                self._pages.popitem(last=False)
        return self._pages[number]


def task_of(wire: Wire) -> Task:
    """A task as the server shows it; its reference, where it has one, is kept in its data."""
    row = task_from_wire(wire)
    if wire["reference"] is None or row.answer is not None or row.data:
        return row
    return Task(row.id, row.prompt, None, {REFERENCE: wire["reference"]}, row.split)


def remote_spec(url: str) -> EnvSpec:
    """The specification of a `RemoteEnv`, with everything the server promises of the environment behind it.

    Raises:
        ServerUnreachable: nobody answers there.
        ConfigError: what answers is no environment server, or wants another API key.
    """
    base = checked_url(url)
    server = fetch(base, "/")
    try:
        there = server["environment"]
        low, high = there["reward_range"]
        return EnvSpec(
            id=base,
            entry_point="agentenv.gateway.environments.client:RemoteEnv",
            kwargs={"url": base, "fingerprint": server["fingerprint"]},
            description=f"{there['id']}: {there['description']}",
            max_turns=there["max_turns"],
            # JSON has no infinities.
            reward_range=(float("-inf") if low is None else low, float("inf") if high is None else high),
            deterministic=there["deterministic"],
            tags=tuple(there["tags"]),
        )
    except (KeyError, TypeError, ValueError, pydantic.ValidationError) as error:
        raise ConfigError(f"{base} is no environment server of this version") from error


def fetch(url: str, path: str, key: str | None = None) -> Wire:
    """The reply to a GET. Raises what an error reply stands for (`client_errors`)."""
    key = key if key is not None else os.environ.get(KEY_VARIABLE)
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    # A server named by address is meant as it stands, whatever proxy the process uses for the web.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url + path, headers=headers), timeout=TIMEOUT_S) as response:
            raw = response.read()
    except urllib.error.HTTPError as error:
        raw = error.read()
    except (OSError, ValueError) as error:
        raise ServerUnreachable(f"no environment server answers at {url}: {error}") from error
    try:
        reply = json.loads(raw)
    except ValueError as error:
        raise ConfigError(f"{url} is no environment server: it answered {raw[:80]!r}") from error
    if not isinstance(reply, dict):
        raise ConfigError(f"{url} is no environment server: it answered {raw[:80]!r}")
    raise_error(reply, url)
    return reply


def checked_url(url: str) -> str:
    """`url` without a slash at its end. Raises `ConfigError` when it is no address of a server."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigError(f"{url!r} is no address of an environment server, such as http://127.0.0.1:8100")
    return url.rstrip("/")
