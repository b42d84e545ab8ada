"""What the routes of a service stand on: its sandboxes, its executions, and what it says of itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import agentenv
from agentenv.sandbox.contract import SandboxBackend
from agentenv.sandbox.limits import Isolation, Limits
from agentenv.sandbox.service.config import ServiceConfig
from agentenv.sandbox.service.executions import Executions
from agentenv.sandbox.service.fusion import Fusion
from agentenv.sandbox.service.leases import Leases
from agentenv.sandbox.service.metrics import Gauges, Metrics
from agentenv.sandbox.service.turnstile import Turnstile
from agentenv.sandbox.service.wire import LimitsChoice, LimitsView, ServiceView


class ServiceState:
    """The parts of one service.

    Args:
        backend: open. config: what it may cost. limits: of sandboxes that are made without any.
        isolation: of its sandboxes. now: seconds on a monotonic clock.
    """

    def __init__(
        self,
        backend: SandboxBackend,
        config: ServiceConfig,
        limits: Limits,
        isolation: Isolation,
        now: Callable[[], float],
    ) -> None:
        self.backend, self.config = backend, config
        self._limits, self._isolation = limits, isolation
        self._metrics = Metrics()
        self._turnstile = Turnstile(config.max_running, config.max_queued, config.queue_timeout)
        self.leases = Leases(backend, config, self._turnstile, now)
        self.executions = Executions(self._turnstile, self._metrics)
        self.fusion = Fusion(backend, self.leases, self.executions, limits)

    def limits_of(self, choice: LimitsChoice | None) -> Limits | None:
        """The limits that a request asks for; those it does not name are the service's. `None` is all of them."""
        chosen = {} if choice is None else choice.model_dump(exclude_none=True)
        return dataclasses.replace(self._limits, **chosen) if chosen else None

    async def reap(self) -> int:
        """Closes the sandboxes that nobody uses; how many."""
        ended = await self.leases.reap()
        self._metrics.expired += ended
        return ended

    def view(self) -> ServiceView:
        """What is served, and what goes on."""
        config = self.config
        return ServiceView(
            agentenv=agentenv.__version__,
            backend=self.backend.name,
            isolation=self._isolation,
            limits=LimitsView.of(self._limits),
            lease=config.lease,
            queue_timeout=config.queue_timeout,
            operation_timeout=config.operation_timeout,
            max_body=config.max_body,
            max_sandboxes=config.max_sandboxes,
            max_running=config.max_running,
            max_queued=config.max_queued,
            sandboxes=self.leases.occupied,
            running=self._turnstile.running,
            queued=self._turnstile.queued,
        )

    def metrics_page(self) -> str:
        """What Prometheus reads."""
        turnstile = self._turnstile
        return self._metrics.text(
            Gauges(self.leases.occupied, turnstile.running, turnstile.queued, turnstile.refused, self._metrics.expired)
        )
