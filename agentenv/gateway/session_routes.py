"""The routes with which a harness opens sessions, scores them, ends them and reads them back.

POST   /sessions                        opens one: {id, task, environment, group, sibling, iteration, seed, metadata}
GET    /sessions                        open and lately ended ones
GET    /sessions/{id}                   one in short
POST   /sessions/{id}/reward            {reward} or {components}, of the latest call or of {call: index}
POST   /sessions/{id}/finish            {status, stop_reason, problem, reward, components}: the episode is written
GET    /sessions/{id}/trajectory        episode, calls, drift; with ?rows=1 the training rows, with ?tokens=0 no ids
DELETE /sessions/{id}                   ends an open one as cancelled and forgets it
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from agentenv.gateway.failures import ApiError
from agentenv.gateway.requests import read_body
from agentenv.gateway.sessions import Session
from agentenv.gateway.table import Ended, SessionTable
from agentenv.gateway.wire import (
    Finish,
    NewSession,
    call_to_wire,
    drift_to_wire,
    read_components,
    rows_to_wire,
    session_to_wire,
)
from agentenv.gateway.wirejson import dumps
from agentenv.messages import Wire
from agentenv.outcome import Status
from agentenv.rollout import codec

ReadBody = Callable[[web.BaseRequest], Awaitable[bytes]]


class SessionRoutes:
    """Everything under `/sessions` that is no model call."""

    def __init__(self, table: SessionTable, read: ReadBody) -> None:
        self._table = table
        self._read = read

    async def handle(self, request: web.BaseRequest, id: str | None, rest: tuple[str, ...]) -> web.Response:
        """Answers a request; `rest` is the path after the id. Raises `ApiError`."""
        if id is None:
            match request.method:
                case "POST":
                    return await self._create(request)
                case "GET":
                    return self._list(_url(request))
        else:
            match (request.method, rest):
                case ("GET", ()):
                    return _json(session_to_wire(self._table.find(id), _url(request)))
                case ("DELETE", ()):
                    return await self._delete(id)
                case ("POST", ("reward",)):
                    return await self._reward(request, id)
                case ("POST", ("finish",)):
                    return await self._finish(request, id)
                case ("GET", ("trajectory",)):
                    return self._trajectory(request, id)
        raise ApiError(404, f"there is no {request.method} {request.path}")

    async def _create(self, request: web.BaseRequest) -> web.Response:
        new = NewSession.read(await self._body(request))
        session = self._table.create(new.id, task=new.task, key=new.key, seed=new.seed, metadata=new.metadata)
        return _json(session_to_wire(session, _url(request)), status=201)

    def _list(self, url: str) -> web.Response:
        found: list[Session | Ended] = [*self._table.open.values(), *self._table.ended.values()]
        return _json({"sessions": [session_to_wire(session, url) for session in found]})

    async def _delete(self, id: str) -> web.Response:
        found = self._table.find(id)
        if isinstance(found, Session):
            await self._table.end(found, Status.CANCELLED, problem="the session was deleted")
        if id in self._table.ended:
            self._table.forget(id)
        return _json({"id": id, "deleted": True})

    async def _reward(self, request: web.BaseRequest, id: str) -> web.Response:
        body = await self._body(request)
        index = body.pop("call", None)
        if index is not None and type(index) is not int:
            raise ApiError(400, "call must be the index of a call", param="call")
        if unknown := body.keys() - {"reward", "components"}:
            raise ApiError(400, f"{min(unknown)} is not known here", param=min(unknown))
        components = read_components(body)
        session = self._table.find_open(id)
        try:
            index = session.give_reward(index, components)
        except IndexError:
            raise ApiError(400, f"session {id} has {len(session.calls)} calls", param="call") from None
        return _json({"id": id, "call": index, "reward": sum(part.value * part.weight for part in components)})

    async def _finish(self, request: web.BaseRequest, id: str) -> web.Response:
        said = Finish.read(await self._body(request))
        session = self._table.find_open(id)
        if said.components and session.calls:
            session.give_reward(None, said.components)
        ended = await self._table.end(session, said.status, said.stop_reason, said.problem)
        return _json(session_to_wire(ended, _url(request)) | _outcome(self._table, ended))

    def _trajectory(self, request: web.BaseRequest, id: str) -> web.Response:
        found = self._table.find(id)
        session = found if isinstance(found, Session) else found.session
        episode = self._table.episode(found)
        shown: Wire = {
            "session": session_to_wire(found, _url(request)),
            "episode": codec.episode_to_wire(episode),
            "calls": [call_to_wire(session.record(call)) for call in session.calls if call.status is not None],
            "drift": drift_to_wire(session),
        }
        if _flag(request, "rows", False):
            shown |= rows_to_wire(episode)
        if not _flag(request, "tokens", True):
            for holder in (*shown["calls"], *shown["episode"]["turns"]):
                holder["tokens"] = None
        return web.Response(body=codec.to_json(shown).encode(), content_type="application/json")

    async def _body(self, request: web.BaseRequest) -> Wire:
        raw = await self._read(request)
        return read_body(raw) if raw.strip() else {}


def _outcome(table: SessionTable, ended: Ended) -> Wire:
    episode = table.episode(ended)
    return {"reward": episode.reward, "components": episode.components, "turns": len(episode.turns)}


def _url(request: web.BaseRequest) -> str:
    """The gateway as this client reaches it."""
    return f"{request.scheme}://{request.host}"


def _flag(request: web.BaseRequest, name: str, default: bool) -> bool:
    value = request.query.get(name)
    return default if value is None else value not in ("0", "false", "no", "")


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=dumps(value), content_type="application/json")
