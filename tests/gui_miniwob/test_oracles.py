"""Oracles earn what can be earned, in the words of either kind of dialect; doing nothing earns nothing."""

from __future__ import annotations

import pytest

from agentenv.errors import UnsupportedError
from agentenv.resources import Resources
from agentenv_gui.actions import Choose, Click, Element, Point, Press
from agentenv_gui.codecs import dialect
from agentenv_gui.miniwob import source
from agentenv_gui.miniwob.oracle import actions_of, message_of
from agentenv_gui.miniwob.survey import UNSOLVED, Finding, Survey
from agentenv_gui.seen import Box, Node, Size, Tree
from tests.gui_miniwob.conftest import Make, begun, solved

SIZE = Size(160, 210)
TREE = Tree((Node(1, "list", box=Box(0, 50, 100, 60)), Node(2, "text", "a", box=Box(10, 60, 20, 10))))


@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.timeout(300)
async def test_every_oracle_earns_what_can_be_earned_and_waiting_earns_nothing(browsers: Resources) -> None:
    survey = Survey(source.names(), episodes=2, rounds=0, elements=False)
    found: list[Finding] = [finding async for finding in survey.findings()]
    assert [surprise for finding in found for surprise in finding.surprises] == []
    assert sum(finding.solved for finding in found) >= len(source.names()) - len(UNSOLVED)


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(
    "name", ["book-flight", "choose-list", "email-inbox-delete", "enter-date", "highlight-text", "navigate-tree"]
)
async def test_a_reader_of_the_tree_can_do_it_by_elements_alone(make: Make, name: str) -> None:
    env = make(name, reward="raw")
    await begun(env, seed=3)
    assert (await solved(env)).reward == 1.0


@pytest.mark.asyncio(loop_scope="session")
async def test_a_task_without_an_oracle_says_so(make: Make) -> None:
    env = make("hover-shape")
    await begun(env)
    with pytest.raises(UnsupportedError, match="hover-shape has no oracle"):
        env.oracle()


@pytest.mark.asyncio(loop_scope="session")
async def test_where_the_dialect_has_no_words_for_it_the_oracle_says_so(make: Make) -> None:
    env = make("draw-line")
    await begun(env)
    with pytest.raises(UnsupportedError, match="'elements' has no words"):
        env.oracle()


@pytest.mark.parametrize(
    ("box", "target"),
    [
        ({"left": 10, "top": 60, "width": 20, "height": 10}, 2),
        ({"left": 0.4, "top": 50, "width": 100, "height": 60}, 1),
        ({"left": 5, "top": 55, "width": 60, "height": 40}, 2),
    ],
    ids=["the same", "nearly the same", "what lies inside"],
)
def test_an_element_is_aimed_at_by_where_it_is_seen(box: dict[str, float], target: int) -> None:
    step = {"do": "click", "at": {"x": 20, "y": 65, "box": box}}
    spoken = dialect("elements", SIZE)
    (call,) = message_of(step, TREE, spoken, "call").tool_calls
    assert spoken.decode(call) == (Click(Element(target)),)


def test_a_place_is_a_point_in_a_dialect_of_places() -> None:
    step = {"do": "click", "at": {"x": 20, "y": 65, "box": {"left": 10, "top": 60, "width": 20, "height": 10}}}
    spoken = dialect("places", SIZE)
    (call,) = message_of(step, TREE, spoken, "call").tool_calls
    assert spoken.decode(call) == (Click(Point(20, 65)),)


def test_a_list_that_drops_down_is_chosen_from_or_gone_through_by_keys() -> None:
    at = {"x": 50, "y": 80, "box": {"left": 0, "top": 50, "width": 100, "height": 60}}
    step = {"do": "choose", "option": "Peru", "of": at, "steps": -2}
    spoken = dialect("elements", SIZE)
    (call,) = message_of(step, TREE, spoken, "call").tool_calls
    assert spoken.decode(call) == (Choose("Peru", Element(1)),)
    up = Press(("ArrowUp",))
    assert actions_of(step) == (Click(Point(50, 80)), up, up, Press(("Enter",)))
