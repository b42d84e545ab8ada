"""Which replica answers a call: the session's own while it lives, else the least loaded."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import yarl

from agentenv.errors import AgentenvError, ConfigError
from agentenv.gateway.calls import CallStatus
from agentenv.gateway.config import GatewayConfig
from agentenv.gateway.connections import IDLE_SECONDS, CannotConnect, ConnectionClosed, Connections, words_of
from agentenv.gateway.continuation import Renderer, ServerRenderer
from agentenv.gateway.failures import ApiError
from agentenv.gateway.replies import BadReply, Reply
from agentenv.gateway.wirejson import dumps, loads
from agentenv.messages import Wire

ATTEMPTS = 2
"""How often one call may be given to the same replica."""
_LARGE = 2**20
_RENDERERS = 16
_HEALTH_SECONDS = 5.0


class UpstreamError(AgentenvError):
    """No replica can be reached."""


@dataclass(frozen=True, slots=True)
class ReplicaHealth:
    """A replica as the gateway sees it now. `problem` is empty while it is alive."""

    url: str
    alive: bool
    in_flight: int
    calls: int
    problem: str


class Replica:
    """One server, and what is known of it."""

    def __init__(self, url: str, headers: Mapping[str, str], connect_seconds: float) -> None:
        self.url = url
        self.alive = True
        self.in_flight = 0
        self.calls = 0
        self.problem = ""
        self.refused: frozenset[str] = frozenset()
        """Fields of ours that this server has answered with 400."""
        self.version = 0
        """Of the weights, at the last look; for servers that do not name it in their answers."""
        self.tells_version = True
        """Whether the server has a route that names it; assumed until it says no."""
        self.watch = asyncio.Event()
        """Set to have the health looked at now instead of at the next turn."""
        self.connections = Connections(yarl.URL(url), headers, connect_seconds)
        self._paths: dict[str, yarl.URL] = {}
        self._renderers: dict[str, Renderer] = {}

    def at(self, path: str) -> yarl.URL:
        """The URL of a path such as `/v1/models`."""
        found = self._paths.get(path)
        if found is None:
            base = self.connections.base
            found = self._paths[path] = base.with_path(base.path.rstrip("/") + path)
        return found

    def renderer(self, model: str, post: Callable[[Replica, str, Wire], Awaitable[tuple[int, Any]]]) -> Renderer:
        """The server's template and parsers for a model."""
        found = self._renderers.get(model)
        if found is None:
            if len(self._renderers) >= _RENDERERS:  # a server has a few names; agents can make up any number
                self._renderers.clear()

            async def post_here(path: str, body: Wire) -> tuple[int, Any]:
                return await post(self, path, body)

            found = self._renderers[model] = ServerRenderer(post_here, model)
        return found

    def failed(self, problem: str) -> None:
        """Nobody listens there any more: its sessions move with their next call."""
        self.alive = False
        self.problem = problem
        self.watch.set()

    @property
    def health(self) -> ReplicaHealth:
        return ReplicaHealth(self.url, self.alive, self.in_flight, self.calls, "" if self.alive else self.problem)


class Router:
    """The replicas, one HTTP client for all of them, and a watch over the health of each.

    A replica counts as dead from the first refused connection, or when `/health` answers 5xx or stays silent; it is
    back as soon as `/health` answers anything else.
    """

    def __init__(self, config: GatewayConfig) -> None:
        self._config = config
        self._headers = {"Content-Type": "application/json"}
        if config.upstream_api_key:
            self._headers["Authorization"] = f"Bearer {config.upstream_api_key}"
        self.replicas = tuple(
            Replica(checked_url(url), self._headers, config.connect_seconds) for url in config.upstreams
        )
        self._http: aiohttp.ClientSession | None = None
        self._watches: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Connects, looks at every replica once, and goes on watching them."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS, ttl_dns_cache=300)
        self._http = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
            read_bufsize=2**18,
        )
        await asyncio.gather(*(self._look(replica) for replica in self.replicas))
        self._watches = [asyncio.create_task(self._watch(replica)) for replica in self.replicas]

    async def close(self) -> None:
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        self._watches = []
        for replica in self.replicas:
            replica.connections.close()
        if self._http is not None:
            await self._http.close()
            self._http = None

    def choose(self, preferred: Replica | None, tried: Mapping[Replica, int]) -> Replica:
        """The preferred replica if it lives and has not been tried, else the living one with the least in flight.

        A replica that failed a call without being dead may be asked once more when every other has failed it, too.

        Raises:
            ApiError: none is left.
        """
        if preferred is not None and preferred.alive and not tried.get(preferred):
            return preferred
        living = [replica for replica in self.replicas if replica.alive and tried.get(replica, 0) < ATTEMPTS]
        if not living:
            raise self.nobody()
        return min(living, key=lambda replica: (tried.get(replica, 0), replica.in_flight, replica.calls))

    def require_one(self) -> None:
        """Raises `UpstreamError` unless a replica is alive."""
        if not any(replica.alive for replica in self.replicas):
            named = "; ".join(f"{replica.url}: {replica.problem}" for replica in self.replicas)
            raise UpstreamError(f"no model server answers ({named}); start it first, or correct its URL")

    def nobody(self) -> ApiError:
        """What a call is told when no replica can take it."""
        named = "; ".join(f"{replica.url}: {replica.problem or 'it failed this call'}" for replica in self.replicas)
        return ApiError(
            503,
            f"no model server answers ({named})",
            code="no_replica",
            call_status=CallStatus.UPSTREAM_ERROR,
            headers={"Retry-After": "1"},
        )

    async def post(self, replica: Replica, path: str, body: bytes, seconds: float) -> Reply:
        """The whole answer of a replica. Raises `OSError` (`TimeoutError` is one) where there is none."""
        return await replica.connections.post(path, body, seconds)

    def stream(
        self, replica: Replica, path: str, body: bytes, timeout: aiohttp.ClientTimeout
    ) -> aiohttp.client._RequestContextManager:
        """A request whose answer comes bit by bit, to be entered as a context."""
        if self._http is None:
            raise RuntimeError("the router is not open")
        data = body if len(body) < _LARGE else io.BytesIO(body)
        return self._http.post(replica.at(path), data=data, timeout=timeout, allow_redirects=False)

    def get(self, replica: Replica, path: str, timeout: aiohttp.ClientTimeout) -> aiohttp.client._RequestContextManager:
        if self._http is None:
            raise RuntimeError("the router is not open")
        return self._http.get(replica.at(path), timeout=timeout, allow_redirects=False)

    def renderer(self, replica: Replica, model: str) -> Renderer:
        """The template and parsers of a replica."""
        return replica.renderer(model, self._post_json)

    async def _post_json(self, replica: Replica, path: str, body: Wire) -> tuple[int, Any]:
        reply = await self.post(replica, path, dumps(body), self._config.idle_seconds)
        try:
            return reply.status, loads(reply.body)
        except ValueError:
            return reply.status, None

    async def _watch(self, replica: Replica) -> None:
        while True:
            try:
                async with asyncio.timeout(self._config.health_seconds):
                    await replica.watch.wait()
            except TimeoutError:
                pass
            else:
                await asyncio.sleep(min(0.1, self._config.health_seconds))  # a crash makes many calls ask at once
                replica.watch.clear()
            await self._look(replica)

    async def _look(self, replica: Replica) -> None:
        patience = max(5 * self._config.health_seconds, _HEALTH_SECONDS)
        try:
            async with self.get(replica, "/health", aiohttp.ClientTimeout(total=patience)) as response:
                alive, problem = response.status < 500, f"/health answers {response.status}"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            alive, problem = False, describe(error, patience)
        if alive:
            await self._look_at_version(replica, patience)
            replica.alive, replica.problem = True, ""
        else:
            since = time.strftime("%H:%M:%S")
            replica.problem = replica.problem if not replica.alive else f"{problem} since {since}"
            replica.alive = False
            replica.tells_version = True  # what comes back may be another release

    async def _look_at_version(self, replica: Replica, patience: float) -> None:
        """Reads the version of the weights where the server has a route for it (vLLM's `/weight_info`, 0.27)."""
        if not replica.tells_version:
            return
        try:
            async with self.get(replica, "/weight_info", aiohttp.ClientTimeout(total=patience)) as response:
                raw = await response.read()
            replica.tells_version = response.status != 404
            told = loads(raw)["weight_version"] if response.status == 200 else None
            replica.version = int(told) if told not in (None, "default") else replica.version
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError, TypeError):
            return  # asked again with the next look


def describe(error: BaseException, seconds: float) -> str:
    """A failure to reach a server, in words."""
    if isinstance(error, TimeoutError):
        return f"silent for {seconds:g} s"
    if isinstance(error, CannotConnect | ConnectionClosed | BadReply):
        return str(error)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return str(ConnectionClosed())
    if isinstance(error, aiohttp.ClientConnectorError):
        return words_of(error.os_error)
    return f"{type(error).__name__}: {error}"


def checked_url(url: str) -> str:
    """A base URL without `/v1` and trailing slashes.

    >>> checked_url("http://127.0.0.1:8000/v1/")
    'http://127.0.0.1:8000'

    Raises:
        ConfigError: it is no HTTP URL.
    """
    try:
        parsed = yarl.URL(url.strip())
    except ValueError:
        parsed = yarl.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError(f"{url!r} is no base URL of a server, such as http://127.0.0.1:8000/v1")
    return str(parsed.with_query(None).with_fragment(None)).rstrip("/").removesuffix("/v1").rstrip("/")
