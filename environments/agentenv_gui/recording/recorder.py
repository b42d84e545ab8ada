"""`RecordedSurface`: a surface of which everything is written down."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from agentenv.threads import THREADS
from agentenv_gui.actions import Action, Zoom
from agentenv_gui.recording.log import Acted, Looked, RecordingLog
from agentenv_gui.seen import Seen, Size, Wants
from agentenv_gui.surface import ActionError, Surface


class RecordedSurface:
    """Passes everything on to a surface, and writes it into a folder. A surface that fails ends the recording there.

    Args:
        surface: what is recorded. folder: as for `RecordingLog`.
        clock: seconds, of any beginning.

    Example:
        page = RecordedSurface(page, run / "episode-7")
    """

    def __init__(self, surface: Surface, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._surface = surface
        self._log = RecordingLog(folder, surface.size)
        self._clock = clock
        self._began = clock()

    @property
    def size(self) -> Size:
        return self._surface.size

    async def act(self, action: Action) -> None:
        began = self._clock()
        refused: ActionError | None = None
        try:
            await self._surface.act(action)
        except ActionError as error:
            refused = error
        told = None if refused is None else str(refused)
        await self._write(Acted(action, told, began - self._began, self._clock() - began))
        if refused is not None:
            raise refused

    async def see(self, wants: Wants, zoom: Zoom | None = None) -> Seen:
        began = self._clock()
        seen = await self._surface.see(wants, zoom)
        await self._write(Looked(wants, zoom, seen, began - self._began, self._clock() - began))
        return seen

    async def _write(self, exchange: Acted | Looked) -> None:
        await THREADS.run(lambda: self._log.append(exchange))
