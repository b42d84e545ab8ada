"""What a request asks for, whichever wire it came by: the one place where operations have names."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pydantic

from agentenv.gateway.environments.refusals import Code, Refusal
from agentenv.gateway.environments.session import Deliver, Reply, UnderWay, error_reply
from agentenv.gateway.environments.sessions import Sessions, described
from agentenv.gateway.environments.tasks import PAGE, TaskSource, explain
from agentenv.gateway.environments.wire import CreateSession
from agentenv.messages import Wire

_LOG = logging.getLogger("agentenv.gateway")


class Operation(StrEnum):
    """The `op` of a request over the WebSocket."""

    SERVER = "server"
    TASKS = "tasks"
    CREATE = "create"
    STEP = "step"
    VIEW = "view"
    HEARTBEAT = "heartbeat"
    CLOSE = "close"


_OPERATIONS = {operation.value: operation for operation in Operation}


@dataclass(frozen=True, slots=True)
class Operations:
    """The operations on one server's sessions.

    Attributes:
        server: what the server says of itself.
    """

    sessions: Sessions
    tasks: TaskSource
    server: Callable[[], Wire]

    def step(self, request: Wire, deliver: Deliver | None = None, *, lend: bool = False) -> Reply | UnderWay:
        """Takes a step without waiting for it. Errors are replies. For the rest see `EnvironmentSession.step`."""
        try:
            self.sessions.check_epoch(request.get("epoch"))
            return self.sessions.find(request.get("session")).step(request, deliver, lend=lend)
        except Refusal as refusal:
            return self.refuse(refusal, request)

    async def perform(self, operation: Operation, request: Wire) -> Reply:
        """Does what is asked and returns the reply. Never raises for what a request or an environment does."""
        try:
            return await self._perform(operation, request)
        except Refusal as refusal:
            return self.refuse(refusal, request)
        except pydantic.ValidationError as error:
            return self.refuse(Refusal(Code.MALFORMED, explain(error)), request)
        except Exception as error:
            _LOG.exception("a request failed: %s", operation)
            return self.refuse(Refusal(Code.INTERNAL, f"{type(error).__name__}: {error}"), request)

    def refuse(self, refusal: Refusal, request: Wire) -> Reply:
        """The reply that refuses a request."""
        session = request.get("session")
        known = session if isinstance(session, str) else None
        return error_reply(refusal, request.get("request_id"), self.sessions.epoch, known)

    async def _perform(self, operation: Operation, request: Wire) -> Reply:
        asked, epoch = request.get("request_id"), self.sessions.epoch
        match operation:
            case Operation.SERVER:
                return described(asked, epoch, self.server())
            case Operation.TASKS:
                return described(asked, epoch, await self._page(request))
            case Operation.CREATE:
                wanted = {name: value for name, value in request.items() if name != "op"}
                return await self.sessions.create(CreateSession.model_validate(wanted))
            case Operation.STEP:
                answer = self.step(request)
                return answer if isinstance(answer, Reply) else await asyncio.shield(answer.reply)
        if "epoch" in request:
            self.sessions.check_epoch(request["epoch"])
        match operation:
            case Operation.VIEW:
                return described(asked, epoch, self.sessions.find(request.get("session")).describe())
            case Operation.HEARTBEAT:
                return described(asked, epoch, {"sessions": self.sessions.heartbeat(request.get("sessions"))})
            case Operation.CLOSE:
                await self.sessions.close(request.get("session"))
                return described(asked, epoch, {"session": request.get("session")})

    async def _page(self, request: Wire) -> Wire:
        page = _Page.model_validate({name: request[name] for name in _Page.model_fields if name in request})
        return await self.tasks.page(page.split, page.shuffle, page.offset, page.limit)


class _Page(pydantic.BaseModel):
    """Which tasks to list; numbers may be texts, as they are in a URL."""

    split: str = "train"
    shuffle: int | None = None
    offset: int = pydantic.Field(default=0, ge=0)
    limit: int = pydantic.Field(default=100, ge=1, le=PAGE)


def operation_of(request: Wire) -> Operation:
    """The operation a request over the WebSocket names. Raises `Refusal` for any other."""
    name: Any = request.get("op")
    try:
        return _OPERATIONS[name]
    except (KeyError, TypeError):
        known = ", ".join(_OPERATIONS)
        raise Refusal(Code.MALFORMED, f"op must be one of {known}; got {name!r:.80}") from None
