"""`ReplayedSurface`: a recording in the place of the surface it was made of."""

from __future__ import annotations

from agentenv.errors import AgentenvError
from agentenv_gui.actions import Action, Zoom
from agentenv_gui.recording.log import Acted, Exchange, Looked, Recording
from agentenv_gui.seen import Seen, Size, Wants
from agentenv_gui.surface import ActionError
from agentenv_gui.wire import action_to_json


class DivergedError(AgentenvError):
    """Something else is asked of a recording than was asked when it was made: what would follow, it does not know."""


class ReplayedSurface:
    """Answers as the recorded surface did, without any browser or container.

    It knows one way through the episode: the same actions and looks, in the same order.

    Args:
        recording: what was recorded.

    Example:
        page = ReplayedSurface(Recording.read(run / "episode-7"))
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._next = 0

    @property
    def size(self) -> Size:
        return self._recording.size

    @property
    def over(self) -> bool:
        """Whether everything has been replayed."""
        return self._next == len(self._recording.exchanges)

    async def act(self, action: Action) -> None:
        recorded = self._take(_action(action))
        if not isinstance(recorded, Acted) or recorded.action != action:
            raise self._diverged(_action(action), recorded)
        if recorded.refused is not None:
            raise ActionError(recorded.refused)

    async def see(self, wants: Wants, zoom: Zoom | None = None) -> Seen:
        recorded = self._take(_look(wants, zoom))
        if not isinstance(recorded, Looked) or (recorded.wants, recorded.zoom) != (wants, zoom):
            raise self._diverged(_look(wants, zoom), recorded)
        return recorded.seen

    def _take(self, asked: str) -> Exchange:
        if self.over:
            raise DivergedError(f"the recording ends after {self._next} exchanges, where {asked} is asked for")
        self._next += 1
        return self._recording.exchanges[self._next - 1]

    def _diverged(self, asked: str, recorded: Exchange) -> DivergedError:
        known = _action(recorded.action) if isinstance(recorded, Acted) else _look(recorded.wants, recorded.zoom)
        return DivergedError(f"exchange {self._next} of the recording is {known}, not {asked}")


def _action(action: Action) -> str:
    return f"the action {action_to_json(action)}"


def _look(wants: Wants, zoom: Zoom | None) -> str:
    return f"a look at {wants}" if zoom is None else f"a look at {wants}, {zoom}"
