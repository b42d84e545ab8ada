"""The sessions a gateway holds: open ones in memory with a lease, ended ones to read back for a while."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

from agentenv.episode import EpisodeKey
from agentenv.gateway.config import GatewayConfig
from agentenv.gateway.failures import ApiError
from agentenv.gateway.sessions import Session, problem_with_id
from agentenv.gateway.statistics import GatewayStatistics
from agentenv.tasks import Task

ENVIRONMENT = "gateway"
"""What an episode names as its environment where its session was not told of one."""


class SessionTable:
    """Sessions by id."""

    def __init__(self, config: GatewayConfig, statistics: GatewayStatistics) -> None:
        self._config = config
        self._statistics = statistics
        self.open: dict[str, Session] = {}

    def create(
        self,
        id: str | None = None,
        *,
        task: Task | None = None,
        key: EpisodeKey | None = None,
        seed: int = 0,
        metadata: Mapping[str, Any] | None = None,
    ) -> Session:
        """Opens a session.

        Raises:
            ApiError: 400 for an id that cannot be one, 409 for one that is taken.
        """
        id = uuid.uuid4().hex if id is None else id
        if problem := problem_with_id(id):
            raise ApiError(400, problem, param="id")
        if id in self.open:
            raise ApiError(409, f"session {id} is open already", code="session_exists")
        task = task or Task(id)
        key = key or EpisodeKey(ENVIRONMENT, task.id, task.id, 0)
        session = self.open[id] = Session(id, task, key, seed, metadata or {})
        self._statistics.opened += 1
        return session

    def use(self, id: str) -> Session:
        """The open session of this id; a new one where there is none yet. Its lease begins anew."""
        session = self.open.get(id)
        if session is None:
            session = self.create(id)
        session.last_used = time.monotonic()
        return session
