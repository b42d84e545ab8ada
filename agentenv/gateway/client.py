"""A typed client of the gateway's session routes, for harnesses that open sessions, score and collect them."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp

from agentenv.episode import Episode
from agentenv.errors import AgentenvError
from agentenv.gateway.calls import ModelCallRecord
from agentenv.gateway.wire import call_from_wire
from agentenv.gateway.wirejson import dumps, loads
from agentenv.messages import Wire
from agentenv.outcome import Failure, Status, StopReason
from agentenv.rollout import codec
from agentenv.tasks import Task


class GatewayClientError(AgentenvError):
    """The gateway refused a request, or cannot be reached. `status` is its HTTP status, 0 for none."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class FinishedSession:
    """How a session ended. `reward` is `None` unless the episode was scored.

    `problem` says why it is not in the gateway's journal, where it should be.
    """

    id: str
    status: Status
    stop_reason: StopReason
    reward: float | None
    components: Mapping[str, float]
    turns: int
    failure: Failure | None
    problem: str


@dataclass(frozen=True, slots=True)
class Trajectory:
    """Everything the gateway holds of a session.

    Attributes:
        episode: as it is (or would be) written to the journal; of an open session as if it were cancelled now.
        calls: all calls, the failed ones included.
        continuations, fork_reasons: how often prompts followed from earlier calls in which way.
    """

    episode: Episode
    calls: tuple[ModelCallRecord, ...]
    continuations: Mapping[str, int]
    fork_reasons: Mapping[str, int]


class GatewayClient:
    """Speaks to a gateway at `url` (without `/v1`).

    Example:
        async with GatewayClient("http://127.0.0.1:8600") as gateway:
            session = await gateway.create(task=Task.ask("t1", "2 + 2?", answer=4))
            answer = await my_agent(base_url=session.base_url)          # any client that speaks OpenAI
            await session.reward(correct=float(answer == "4"))
            finished = await session.finish()
    """

    def __init__(self, url: str, *, api_key: str = "", timeout: float = 60.0) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(headers=self._headers, timeout=self._timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def create(
        self,
        id: str | None = None,
        *,
        task: Task | None = None,
        environment: str | None = None,
        group: str | None = None,
        sibling: int | None = None,
        iteration: int | None = None,
        seed: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> GatewaySession:
        """Opens a session.

        Args:
            id: by default one nobody else has.
            task: what the episode is about. group: which siblings it is compared with, by default those of its task.
            sibling: its number in the group, by default the next free one.
            metadata: JSON of your own; it is kept with the episode's first turn.

        Raises:
            GatewayClientError: the id is taken (409) or cannot be one (400).
        """
        body = {
            "id": id,
            "task": None if task is None else codec.task_to_wire(task),
            "environment": environment,
            "group": group,
            "sibling": sibling,
            "iteration": iteration,
            "seed": seed,
            "metadata": None if metadata is None else dict(metadata),
        }
        given = {name: value for name, value in body.items() if value is not None}
        return GatewaySession(self, (await self.request("POST", "/sessions", given))["id"])

    def session(self, id: str) -> GatewaySession:
        """A session by its id; it opens with its first model call if it is not open yet."""
        return GatewaySession(self, id)

    async def sessions(self) -> Sequence[Wire]:
        """Open and lately ended sessions, in short."""
        found: Sequence[Wire] = (await self.request("GET", "/sessions"))["sessions"]
        return found

    async def statistics(self) -> Wire:
        """The gateway's counters since its start."""
        return await self.request("GET", "/statistics")

    async def request(self, method: str, path: str, body: Wire | None = None) -> Wire:
        """One request. Raises `GatewayClientError` unless it is answered with success."""
        if self._http is None:
            raise GatewayClientError("use the client as a context: async with GatewayClient(url) as gateway")
        data = None if body is None else dumps(body)
        try:
            async with self._http.request(method, self.url + path, data=data) as response:
                raw, status = await response.read(), response.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise GatewayClientError(f"the gateway at {self.url} does not answer: {error or 'timeout'}") from error
        try:
            found: Wire = loads(raw)
            if status < 400:
                return found
            message = found["error"]["message"]
        except (ValueError, KeyError, TypeError):
            message = raw[:200].decode(errors="replace")
        raise GatewayClientError(f"{method} {path}: {message} ({status})", status)


class GatewaySession:
    """One session of a gateway."""

    def __init__(self, client: GatewayClient, id: str) -> None:
        self.id = id
        self._client = client
        self._path = f"/sessions/{urllib.parse.quote(id, safe=':@')}"

    @property
    def base_url(self) -> str:
        """What to give an OpenAI client. Anthropic's wants it without the `/v1`: `anthropic_url`."""
        return f"{self._client.url}{self._path}/v1"

    @property
    def anthropic_url(self) -> str:
        return f"{self._client.url}{self._path}"

    async def reward(self, value: float | None = None, /, *, call: int | None = None, **components: float) -> None:
        """Adds to the reward of a call, by default the latest: one number, or named components.

        Raises:
            GatewayClientError: no finite number, no such call, or the session has ended.
        """
        body: Wire = {"reward": value} if value is not None else {"components": components}
        if call is not None:
            body["call"] = call
        await self._client.request("POST", f"{self._path}/reward", body)

    async def finish(
        self,
        status: Status = Status.OK,
        *,
        reward: float | None = None,
        stop_reason: StopReason | None = None,
        problem: str = "",
    ) -> FinishedSession:
        """Ends the session; its episode is in the journal when this returns.

        Args:
            status: how the agent's side ended. A call that failed upstream makes a `model_error` of it all the same.
            reward: for the whole episode, added to what its calls were given.
            problem: what went wrong, for statuses that say something did.
        """
        body: Wire = {"status": status.value}
        for name, value in (("reward", reward), ("stop_reason", stop_reason), ("problem", problem or None)):
            if value is not None:
                body[name] = value
        found = await self._client.request("POST", f"{self._path}/finish", body)
        return FinishedSession(
            found["id"],
            Status(found["status"]),
            StopReason(found["stop_reason"]),
            found["reward"],
            found["components"],
            found["turns"],
            codec.failure_from_wire(found["failure"]),
            found["problem"],
        )

    async def trajectory(self) -> Trajectory:
        """The session read back, whether it is open or lately ended."""
        found = await self._client.request("GET", f"{self._path}/trajectory")
        return Trajectory(
            codec.episode_from_wire(found["episode"]),
            tuple(call_from_wire(self.id, call) for call in found["calls"]),
            found["drift"]["continuations"],
            found["drift"]["fork_reasons"],
        )

    async def delete(self) -> None:
        """Ends the session as cancelled, if it is open, and forgets it."""
        await self._client.request("DELETE", self._path)
