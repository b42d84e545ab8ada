"""Five hundred episodes in one process, each with worlds of its own."""

from __future__ import annotations

import random
from typing import ClassVar

import pytest

from agentenv.errors import ConfigError
from agentenv.tools import tool
from agentenv_tools.briefs import Brief, Call
from agentenv_tools.crowd import goal_of, play_side_by_side
from agentenv_tools.env import GoalEnv
from agentenv_tools.errands.office import Office
from agentenv_tools.world import Facts, World, Worlds, register_world


@pytest.mark.slow
async def test_five_hundred_episodes_of_the_office_end_each_in_its_own_goal() -> None:
    endings = await play_side_by_side(Office, 500)
    assert [ending.reward for ending in endings] == [1.0] * 500
    assert len({ending.before for ending in endings}) == 500
    assert len({ending.after for ending in endings}) == 500
    tasks = Office().tasks("train")
    for number in range(0, 500, 10):  # what it is with nobody beside it
        task = tasks.task(number)
        assert (endings[number].task_id, endings[number].after) == (task.id, await goal_of(Office, task))


class _Board(World):
    """A list that is written on; whether it is everybody's is what the subclasses differ in."""

    def __init__(self, rng: random.Random) -> None:
        self.lines = self.new_lines()

    def new_lines(self) -> list[str]:
        return []

    @tool(inline=True)
    def write(self, line: str) -> str:
        """Writes a line."""
        self.lines.append(line)
        return "written"

    def facts(self) -> Facts:
        return {"lines": list(self.lines)}


@register_world
class OwnBoard(_Board):
    name: ClassVar[str] = "test-own-board"


@register_world
class SharedBoard(_Board):
    """What a careless author writes: a list on the class, which all episodes write on."""

    name: ClassVar[str] = "test-shared-board"
    everybodys: ClassVar[list[str]] = []

    def new_lines(self) -> list[str]:
        return self.everybodys


class Writing(GoalEnv):
    """Writes a number on the board."""

    worlds: ClassVar[tuple[str, ...]] = (OwnBoard.name,)

    def draw(self, rng: random.Random, worlds: Worlds) -> Brief:
        number = str(rng.randint(0, 10**9))
        return Brief("writing", f"Write {number}.", ((Call("write", {"line": number}),),))


class CarelessWriting(Writing):
    worlds: ClassVar[tuple[str, ...]] = (SharedBoard.name,)


async def test_worlds_that_are_apart_are_found_to_be() -> None:
    endings = await play_side_by_side(Writing, 20)
    assert [ending.reward for ending in endings] == [1.0] * 20
    assert len({ending.before for ending in endings}) == 1
    assert len({ending.after for ending in endings}) == 20


async def test_worlds_that_share_a_list_are_found_out() -> None:
    endings = await play_side_by_side(CarelessWriting, 20)
    # The goals were written on the same list, so the reward alone would say that all is well.
    assert len({ending.after for ending in endings}) == 1


async def test_a_crowd_of_nobody_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="at least one episode"):
        await play_side_by_side(Writing, 0)
