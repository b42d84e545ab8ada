"""What each task is like: what its oracle earns, what doing nothing earns, and whether its page can be used again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from agentenv.env import Action
from agentenv.errors import SandboxError, UnsupportedError
from agentenv.messages import Message, assistant
from agentenv.resources import Resources
from agentenv_gui.actions import Wait
from agentenv_gui.browser.sharing import BorrowedPages
from agentenv_gui.miniwob.env import MiniWoB, Scoring
from agentenv_gui.miniwob.proof import Difference, differences
from agentenv_gui.miniwob.scripts import RELOADED
from agentenv_gui.miniwob.tasks import Assignment

UNSOLVED: Mapping[str, str] = {
    "click-pie-nodelay": "the first item of its menu takes no click in today's Chromium",
    "hover-shape": "it pays nothing, and ends with -1 when its time is up",
    "tic-tac-toe": "its opponent plays at random, and is not always to be beaten",
}
"""Tasks that no oracle solves for every seed, and why."""

LEAST: Mapping[str, float] = {"bisect-angle": 0.99, "circle-center": 0.97, "find-midpoint": 0.97, "right-angle": 0.99}
"""What the best pixel earns at least, where that is less than 1: the pages want a place between two pixels."""

PAID_FOR_NOTHING: Mapping[str, float] = {"chase-circle": 0.01}
"""What waiting earns at most, where that is anything: this page counts ten seconds and is over a tenth earlier."""

TURNS = 130
IDLE_SECONDS = 5.0
TOGETHER = 4
"""Tasks that are looked at side by side."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One task.

    Attributes:
        earned: by the oracle, in each episode, without the decay over time; less where it has failed.
        steps: that took, of those that it has solved.
        by_elements: whether the oracle earns the same with the words for elements alone.
        idle: what waiting earns.
        differences: of a page that was used from a new one. problem: why the oracle does not play on, where it fails.
    """

    name: str
    earned: tuple[float, ...] = ()
    steps: tuple[int, ...] = ()
    by_elements: bool = False
    idle: tuple[float, ...] = ()
    differences: tuple[Difference, ...] = ()
    problem: str = ""

    @property
    def solved(self) -> bool:
        """Whether the oracle earns all there is."""
        return bool(self.earned) and min(self.earned) >= LEAST.get(self.name, 1.0)

    @property
    def surprises(self) -> list[str]:
        """What should not be."""
        found = []
        if not self.solved and self.name not in UNSOLVED:
            found.append(f"{self.name}: the oracle earns {min(self.earned, default=0.0):g}. {self.problem}".strip())
        if self.idle and max(self.idle) > PAID_FOR_NOTHING.get(self.name, 0.0):
            found.append(f"{self.name}: waiting earns {max(self.idle):g}")
        if self.differences and self.name not in RELOADED:
            parts = {part for difference in self.differences for part in difference.parts}
            found.append(f"{self.name}: a used page differs from a new one: {', '.join(sorted(parts))}")
        return found


@dataclass(frozen=True, slots=True)
class Survey:
    """What is looked at.

    Attributes:
        names: of tasks. episodes: of each oracle. rounds: of the proof that pages can be used again; 0 leaves it out.
        elements: whether it is tried what can be done with the words for elements alone.
    """

    names: Sequence[str]
    episodes: int = 10
    rounds: int = 6
    elements: bool = True

    async def findings(self) -> AsyncIterator[Finding]:
        """One for each task, in no order."""
        async with Resources() as resources:
            with resources.active():
                waiting = list(self.names)
                running: set[asyncio.Task[Finding]] = set()
                try:
                    while waiting or running:
                        while waiting and len(running) < TOGETHER:
                            running.add(asyncio.create_task(self._finding(waiting.pop(0))))
                        done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                        for task in done:
                            yield task.result()
                finally:
                    for task in running:
                        task.cancel()
                    await asyncio.gather(*running, return_exceptions=True)

    async def _finding(self, name: str) -> Finding:
        played = await _played(name, "places", range(self.episodes), _oracle)
        by_elements = _Played()
        if self.elements:
            by_elements = await _played(name, "elements", range(max(1, self.episodes // 3)), _oracle)
        idle = await _played(name, "places", range(max(1, self.episodes // 5)), _idle)
        found: list[Difference] = []
        if self.rounds:
            browser = (await BorrowedPages().pool()).browser
            assert browser is not None  # it was just played in
            found = await differences(browser, name, range(1_000, 1_000 + self.rounds))
        return Finding(
            name,
            played.earned,
            played.steps,
            bool(by_elements.earned) and min(by_elements.earned) >= LEAST.get(name, 1.0),
            idle.earned,
            tuple(found),
            played.problem,
        )


@dataclass(slots=True)
class _Played:
    episodes: list[tuple[float, int]] = field(default_factory=list)
    problem: str = ""

    @property
    def earned(self) -> tuple[float, ...]:
        return tuple(round(earned, 3) for earned, _ in self.episodes)

    @property
    def steps(self) -> tuple[int, ...]:
        return tuple(steps for earned, steps in self.episodes if earned > 0)


def _oracle(env: MiniWoB) -> Message:
    return env.oracle()


def _idle(env: MiniWoB) -> Message:
    return assistant(None, *env.dialect.encode([Wait(IDLE_SECONDS)]))


async def _played(name: str, dialect: str, seeds: Sequence[int], say: Callable[[MiniWoB], Message]) -> _Played:
    """Some episodes; one that the oracle leaves earns nothing."""
    played = _Played()
    reads = dialect == "elements"
    env = MiniWoB(name, reward=Scoring.RAW, dialect=dialect, see={"tree": reads, "focus": reads})
    try:
        for seed in seeds:
            try:
                played.episodes.append(await _episode(env, Assignment(name, seed), say))
            except (UnsupportedError, SandboxError) as problem:
                played.problem = str(problem)
                played.episodes.append((0.0, 0))
    finally:
        await env.close()
    return played


async def _episode(env: MiniWoB, assignment: Assignment, say: Callable[[MiniWoB], Message]) -> tuple[float, int]:
    await env.reset(task=assignment.task("test"), seed=0)
    for turn in range(TURNS):
        result = await env.step(Action(say(env)))
        if result.terminated and result.reward is not None:
            return float(result.reward), turn + 1
    return 0.0, TURNS
