"""`gui/miniwob-v0`: MiniWoB++ with a dialect's tools, scored by the page itself."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from agentenv.errors import ConfigError, SandboxError, UnsupportedError
from agentenv.messages import Message
from agentenv.rewards import Component, Reward
from agentenv.tasks import TaskSet
from agentenv.tool_rules import ToolRules
from agentenv_gui.actions import Finish
from agentenv_gui.browser.pool import ROOMY, PoolOptions
from agentenv_gui.browser.sharing import BorrowedPages
from agentenv_gui.codecs.space import PIXELS
from agentenv_gui.env import TEXT_ONLY, GuiEnv, Verdict
from agentenv_gui.miniwob import source
from agentenv_gui.miniwob.oracle import message_of
from agentenv_gui.miniwob.proof import prove
from agentenv_gui.miniwob.reading import USUAL, Pace
from agentenv_gui.miniwob.stage import OPTIONS, Stage
from agentenv_gui.miniwob.tasks import Assignment, Assignments
from agentenv_gui.seen import Wants
from agentenv_gui.surface import Surface

INSTRUCTION = "Do what is asked for on the web page, with the tools. A message without a call gives up."


class Scoring(StrEnum):
    """What an episode is worth.

    PAGE: what the page says, from -1 to 1; what it pays for success gets less with the page's time, by a tenth a second
    where the time is up after ten. RAW: the same without getting less. SUCCESS: 1 if that is positive, and 0 if not.
    """

    PAGE = "page"
    RAW = "raw"
    SUCCESS = "success"


class MiniWoB(GuiEnv):
    """One task of MiniWoB++ on its page, which draws everything from the task's seed.

    The page's clock runs during actions only, so that no thinking costs a reward. When the page's time is up, the
    episode ends with -1, as everywhere in MiniWoB++; whoever gives up gets the same. Metrics: `success` (the page has
    paid), `raw` and `page` (what, see `Scoring`), and `page_seconds`.

    Args:
        tasks: a name, several (also with commas between them), or all where none is given.
        reward: a `Scoring`.
        data_mode: "train" or "test": some tasks draw from other distributions in MiniWoB's own test mode.
        pace: seconds of the page's clock: of an `action`, and others of `Pace`.
        pages: of the browser at a time, one for each episode; about 60 MB each. Others wait.
        prove: compare every reset in a used page with a page that was just loaded. Slow, and for finding faults.
        dialect, space, see, system_prompt, tool_rules: as of `GuiEnv`.

    Raises:
        ConfigError: something of that makes no sense. MissingDataError: MiniWoB++ is not installed.
    """

    def __init__(
        self,
        tasks: str | Sequence[str] | None = None,
        *,
        reward: str = Scoring.PAGE,
        data_mode: str = "train",
        pace: Pace | Mapping[str, float] = USUAL,
        pages: int = ROOMY.pages,
        prove: bool = False,
        dialect: str = "elements",
        space: str = PIXELS,
        see: Wants | Mapping[str, Any] = TEXT_ONLY,
        system_prompt: str = INSTRUCTION,
        tool_rules: ToolRules | Mapping[str, Any] | str | None = None,
    ) -> None:
        super().__init__(dialect=dialect, space=space, see=see, system_prompt=system_prompt, tool_rules=tool_rules)
        self.names = source.chosen(tasks)
        if reward not in list(Scoring):
            raise ConfigError(f"reward is one of {', '.join(Scoring)}, not {reward!r}")
        if data_mode not in ("train", "test"):
            raise ConfigError(f"data_mode is train or test, not {data_mode!r}")
        self._scoring, self._mode, self._prove = Scoring(reward), data_mode, prove
        self._pace = Pace.of(pace)
        self._pages = BorrowedPages(PoolOptions(pages=pages))
        self._stage: Stage | None = None

    def tasks(self, split: str = "train") -> TaskSet:
        return Assignments(self.names, split)

    async def open(self) -> tuple[Surface, str]:
        assignment = Assignment.of(self.task)
        if assignment.name not in source.names():
            raise ConfigError(f"MiniWoB++ has no task {assignment.name!r}")
        page = await self._pages.lease(OPTIONS, kind=("miniwob", assignment.name))
        self._stage = stage = Stage(page, self._pace)
        await stage.begin(assignment, self._mode)
        if self._prove:
            await prove(stage, assignment, self._mode)
        return stage, stage.reading.instruction

    async def verdict(self, finish: Finish | None) -> Verdict | None:
        stage = self.stage
        if finish is not None and not stage.reading.over:
            await stage.give_up()
        told = stage.reading
        if not told.over:
            return None
        worth = {Scoring.PAGE: told.reward, Scoring.RAW: told.raw, Scoring.SUCCESS: float(told.raw > 0)}
        metrics = {"success": told.raw > 0, "raw": told.raw, "page": told.reward, "page_seconds": told.seconds}
        return Verdict(Reward.of(Component("task", worth[self._scoring])), metrics)

    async def release(self) -> None:
        self._stage = None
        await self._pages.release()

    async def close(self) -> None:
        await super().close()
        await self._pages.close()

    @property
    def stage(self) -> Stage:
        """The page of the running episode."""
        if self._stage is None:
            raise SandboxError("there is no page: reset() comes first, and close() last")
        return self._stage

    def oracle(self) -> Message:
        told = self.stage.reading
        if told.problem is not None:
            raise UnsupportedError(f"the oracle of {self.stage.name} has failed: {told.problem}")
        if told.step is None:
            raise UnsupportedError(f"{self.stage.name} has no oracle, or none for the state that it is in")
        return message_of(told.step, self.seen.tree, self.dialect, f"call_{self.turns}")

    def state_key(self) -> Hashable | None:
        return (self.stage.name, self.stage.reading.key)
