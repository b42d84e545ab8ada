"""Whether a reset is a reset: an episode in a page that was played on before, and the same in one that was just loaded.

What is compared is everything that `state.js` finds: elements with their attributes, contents and what is set in them,
pictures, listeners, the widgets' data, the scripts' variables, timers, the clock, the scroll position, and the next
random number.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agentenv.errors import SandboxError
from agentenv_gui.actions import Action, Click, Drag, Point, Press, Scroll, TypeText
from agentenv_gui.browser.chromium import Chromium
from agentenv_gui.browser.page import open_page
from agentenv_gui.miniwob.oracle import actions_of
from agentenv_gui.miniwob.stage import OPTIONS, SIZE, Stage
from agentenv_gui.miniwob.tasks import Assignment
from agentenv_gui.surface import ActionError

PLAYED = 15
"""Actions that an episode is played for, before the next one is looked at."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What is not the same after a reset.

    Attributes:
        assignment: of the episode. parts: that differ, by their names in `state.js`.
    """

    assignment: Assignment
    parts: tuple[str, ...]


async def prove(stage: Stage, assignment: Assignment, mode: str) -> None:
    """Compares an episode that has just begun with the same one in a page of its own.

    Raises:
        SandboxError: they differ.
    """
    async with open_page(stage.page.browser, OPTIONS) as page:
        other = Stage(page)
        await other.begin(assignment, mode, fresh=True)
        parts = _unlike(await _state(stage), await _state(other))
    if parts:
        raise SandboxError(f"the page of {assignment.name} is not as new in its {', '.join(parts)}")
    await stage.begin_here(assignment, mode)  # looking has drawn a random number


async def differences(browser: Chromium, name: str, seeds: Sequence[int]) -> list[Difference]:
    """What differs after one episode after the other was played in one page, each in another way."""
    found = []
    async with open_page(browser, OPTIONS) as page, open_page(browser, OPTIONS) as another:
        used, new = Stage(page), Stage(another)
        await used.begin(Assignment(name, seeds[0]), fresh=True)
        for round, seed in enumerate(seeds):
            await _play(used, random.Random(f"{name}/{seed}"), round)
            assignment = Assignment(name, seed)
            at_rest = await used.begin_here(assignment)
            await new.begin(assignment, fresh=True)
            parts = _unlike(await _state(used), await _state(new))
            if parts or not at_rest:
                found.append(Difference(assignment, (*parts, *(() if at_rest else ("going on",)))))
    return found


async def _play(stage: Stage, rng: random.Random, round: int) -> None:
    """An episode, as far as it goes: by the oracle, by chance, or begun by the one and left to the other."""
    for turn in range(PLAYED):
        if stage.reading.over:
            return
        step = stage.reading.step
        by_oracle = step is not None and (round % 3 == 0 or (round % 3 == 2 and turn == 0))
        actions = actions_of(step) if by_oracle and step is not None else [await _anything(stage, rng)]
        for action in actions:
            try:
                await stage.act(action)
            except ActionError:
                return


_PLACES = (
    "[...document.querySelectorAll('#wrap *, body > div *')].map((element) => element.getBoundingClientRect())"
    f".map(({{left, top, width, height}}) => [left + width / 2, top + height / 2])"
    f".filter(([x, y]) => x > 0 && y > 0 && x < {SIZE.width} && y < {SIZE.height})"
)


async def _anything(stage: Stage, rng: random.Random) -> Action:
    """Something that can be done on the page."""
    places = [Point(*place) for place in await stage.look_into(_PLACES)] or [Point(80, 105)]
    at = rng.choice(places)
    choices: list[Action] = [
        Click(at),
        Click(at),
        TypeText(rng.choice(["abc", "7", "Al"]), at),
        Drag((at, rng.choice(places))),
        Scroll(down=60, at=at),
        Press((rng.choice(["Tab", "Enter", "ArrowDown", "End"]),)),
    ]
    return rng.choice(choices)


async def _state(stage: Stage) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(await stage.look_into("JSON.stringify(agentenvState.everything())"))
    return state


def _unlike(one: dict[str, Any], other: dict[str, Any]) -> tuple[str, ...]:
    return tuple(part for part in one if one[part] != other[part])
