"""Imports environments in a thread, once each: a plugin may take seconds to import, and the loop must not wait."""

from __future__ import annotations

import asyncio
import contextlib

from agentenv.errors import AgentenvError
from agentenv.registry import EnvSpec, load_entry_point
from agentenv.rollout.journal import Journal
from agentenv.threads import THREADS

_REMEMBERED = 1024


class EnvironmentLoader:
    """Makes sure that building an environment imports nothing any more.

    Construction itself stays on the event loop: environments may create clients and locks that belong to it.

    Args:
        journal: told the fingerprint of every environment that was loaded.
    """

    def __init__(self, journal: Journal | None) -> None:
        self._journal = journal
        self._known: dict[int, EnvSpec] = {}
        self._loading: dict[str, asyncio.Task[None]] = {}

    async def load(self, spec: EnvSpec) -> None:
        """Returns when the specification's code is imported, or has failed to be; building it then says why."""
        if self._known.get(id(spec)) is spec:
            return
        name = spec.model_dump_json()
        if name not in self._loading:
            self._loading[name] = asyncio.create_task(self._import(spec), name=f"{spec.id}.import")
        await asyncio.shield(self._loading[name])  # it serves everybody who waits for it
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[id(spec)] = spec

    async def close(self) -> None:
        """Gives up imports that are still running."""
        for loading in self._loading.values():
            loading.cancel()
        if self._loading:
            await asyncio.wait(self._loading.values())
        self._loading.clear()

    async def _import(self, spec: EnvSpec) -> None:
        with contextlib.suppress(AgentenvError, OSError):
            await THREADS.run(lambda: self._import_in_thread(spec))

    def _import_in_thread(self, spec: EnvSpec) -> None:
        load_entry_point(spec)
        if self._journal is not None:
            self._journal.set_metadata(f"environment:{spec.id}:{spec.fingerprint()}", spec.model_dump_json())
