"""What a policy meets: instructions, pages, tools, rewards, and what becomes of mistakes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from agentenv.env import Action
from agentenv.errors import ConfigError, SandboxError
from agentenv.messages import assistant
from agentenv_gui.actions import Button, ButtonDown, Click, Element, Finish, Hold, Point, Press, TypeText, Wait
from agentenv_gui.miniwob.env import MiniWoB
from agentenv_gui.miniwob.tasks import Assignment
from tests.gui_miniwob.conftest import Make, begun, called, done, shown, solved

pytestmark = pytest.mark.asyncio(loop_scope="session")


def element_of(env: MiniWoB, role: str, position: int = 0) -> Element:
    """An element that was seen last."""
    assert env.seen.tree is not None
    return Element([node.id for node in env.seen.tree.nodes if node.role == role][position])


async def test_an_episode_opens_with_what_is_to_be_done_and_what_there_is_to_see(make: Make) -> None:
    env = make("enter-text")
    text = await begun(env)
    assert text.splitlines()[0] == 'Enter "Agustina" into the text field and press Submit.'
    assert '] textbox = ""' in text
    assert '] button "Submit"' in text
    await done(env, TypeText("Agustina", element_of(env, "textbox")))
    result = await done(env, Click(element_of(env, "button")))
    assert (result.reward, result.terminated, result.truncated) == (0.99, True, False), "an action takes a tenth of ten"
    assert result.info["metrics"]["success"] is True


async def test_what_was_typed_is_seen_with_the_focus(make: Make) -> None:
    env = make("enter-text")
    await begun(env)
    result = await done(env, TypeText("Ken", element_of(env, "textbox")))
    assert 'textbox = "Ken" focused' in shown(result)


@pytest.mark.parametrize(
    ("scoring", "right", "wrong"), [("page", 0.99, -1.0), ("raw", 1.0, -1.0), ("success", 1.0, 0.0)]
)
async def test_a_reward_is_the_pages_or_without_its_decay_or_only_success(
    make: Make, scoring: str, right: float, wrong: float
) -> None:
    env = make("enter-text", reward=scoring)
    await begun(env)
    assert (await solved(env)).reward == right
    await begun(env)
    assert (await done(env, Click(element_of(env, "button")))).reward == wrong


async def test_the_episode_ends_as_the_page_says_when_its_time_is_up(make: Make) -> None:
    env = make("enter-text")
    await begun(env)
    assert not (await done(env, Wait(9))).terminated
    result = await done(env, Wait(2))
    assert (result.reward, result.terminated, result.truncated) == (-1.0, True, False)
    assert result.info["metrics"]["page_seconds"] == 10


@pytest.mark.parametrize("ending", ["a message", "a call"])
async def test_giving_up_is_worth_what_running_out_of_time_is(make: Make, ending: str) -> None:
    env = make("enter-text")
    await begun(env)
    result = await (done(env, Finish()) if ending == "a call" else env.step(Action(assistant("It cannot be done."))))
    assert (result.reward, result.terminated) == (-1.0, True)


async def test_a_picture_of_the_page_comes_where_it_is_wanted(make: Make) -> None:
    env = make("click-color", see={"screenshot": True, "tree": False, "focus": False})
    task = Assignment("click-color", 0).task("test")
    observation, _ = await env.reset(task=task, seed=0)
    parts = observation.messages[-1].content
    assert isinstance(parts, tuple)
    assert [part.type for part in parts] == ["text", "image_url"]
    assert "[1]" not in observation.messages[-1].text


async def test_a_mistake_is_an_observation_and_what_comes_after_it_is_left_out(make: Make) -> None:
    env = make("enter-text")
    await begun(env)
    box = element_of(env, "textbox").id
    result = await called(
        env,
        ("type", json.dumps({"element": box, "text": "a"})),
        ("click", '{"element": 999}'),
        ("type", json.dumps({"element": box, "text": "b"})),
    )
    said = [message.text for message in result.observation.messages]
    assert said[0] == "Done."
    assert said[1] == "Error: there is no element 999 in what was seen last"
    assert said[2].startswith("Not carried out: what comes before it was not.\n[1]")
    assert 'textbox = "a"' in said[2]
    assert [tool["error"] for tool in result.info["tools"]] == [None, "raised", "refused"]
    assert result.info["metrics"]["action_errors"] == 1


@pytest.mark.parametrize(
    ("name", "arguments", "error", "said"),
    [
        ("clikc", "{}", "unknown_tool", "Did you mean 'click'"),
        ("click", "{", "invalid_json", "Error: "),
        ("click", '{"element": "the button"}', "invalid_arguments", "Error: "),
        ("press", '{"keys": "Entr"}', "invalid_arguments", "Error: "),
    ],
)
async def test_a_call_that_is_none_changes_nothing(
    make: Make, name: str, arguments: str, error: str, said: str
) -> None:
    env = make("enter-text")
    await begun(env)
    before = env.state_key()
    result = await called(env, (name, arguments))
    assert [tool["error"] for tool in result.info["tools"]] == [error]
    assert said in shown(result)
    assert env.state_key() == before


async def test_a_click_outside_the_screen_is_an_observation(make: Make) -> None:
    env = make("click-test", dialect="places")
    await begun(env)
    assert "is not on the screen" in shown(await called(env, ("click", '{"at": [500, 20]}')))


async def test_rules_for_tools_count_here_too(make: Make) -> None:
    env = make("enter-text", tool_rules={"cost": 0.1, "max_invalid_calls": 2, "without": ["wait"]})
    await begun(env)
    assert "wait" not in {tool.name for tool in env.tools}
    result = await called(env, ("wait", "{}"))
    assert result.reward == -0.1
    assert not result.truncated
    result = await called(env, ("click", "{"))
    assert (result.truncated, result.info["stop_reason"]) == (True, "invalid_call_limit")


async def test_the_batch_of_a_vendors_tool_ends_with_the_episode(make: Make) -> None:
    env = make("click-test", dialect="openai")
    await begun(env)
    (at,) = (node.box for node in env.seen.tree.nodes if node.role == "button")  # type: ignore[union-attr]
    here = {"x": round(at.left + 9), "y": round(at.top + 9)}  # type: ignore[union-attr]
    batch = {"actions": [{"type": "click", "button": "left", **here}, {"type": "type", "text": "more"}]}
    name = env.tools[0].name
    result = await called(env, (name, json.dumps(batch)), (name, json.dumps(batch)))
    assert (result.reward, result.terminated) == (1.0, True)
    assert shown(result) == "Not carried out: the task is over."
    assert result.info["metrics"]["actions"] == 1


async def test_whoever_leads_the_page_elsewhere_has_lost_and_the_next_episode_has_its_page(make: Make) -> None:
    env = make("click-test", dialect="places")
    await begun(env)
    result = await done(env, Click(Point(5, 5), Button.BACK))
    assert (result.reward, result.terminated) == (-1.0, True)
    await begun(env)
    assert (await solved(env)).reward == 1.0


async def test_what_is_held_down_is_let_go_before_the_next_episode(make: Make) -> None:
    env = make("click-test", dialect="places")
    await begun(env)
    await done(env, ButtonDown(Point(5, 5)), Hold(("Shift",), 0.5))
    await begun(env, seed=1)
    assert (await solved(env)).reward == 1.0


async def test_the_state_is_what_can_be_seen(make: Make) -> None:
    env = make("enter-text")
    keys = []
    for text in ("a", "b", "a"):
        await begun(env)
        await done(env, TypeText(text, element_of(env, "textbox")))
        keys.append(env.state_key())
    assert keys[0] == keys[2] != keys[1]
    await done(env, Press(("Backspace",)), TypeText("b"))
    assert env.state_key() == keys[1], "by whichever way"


async def test_the_same_actions_see_the_same(make: Make) -> None:
    env = make("click-collapsible", see={"screenshot": True})
    seen: list[Any] = []
    for _ in range(2):
        await begun(env)
        heading = element_of(env, "tab")
        result = await done(env, Click(heading))
        seen.append([message.to_wire()["content"] for message in result.observation.messages])
    assert seen[0] == seen[1], "pixels and all"


async def test_episodes_side_by_side_have_pages_of_their_own(make: Make) -> None:
    envs = [make("enter-text") for _ in range(4)]

    async def play(number: int) -> str:
        env = envs[number]
        await begun(env, seed=number)
        await done(env, TypeText(f"text {number}", element_of(env, "textbox")))
        return env.seen.tree.node(element_of(env, "textbox").id).value  # type: ignore[union-attr, return-value]

    assert await asyncio.gather(*map(play, range(4))) == [f"text {number}" for number in range(4)]


async def test_a_dialect_that_is_none_is_refused_when_the_episode_begins(make: Make) -> None:
    with pytest.raises(ConfigError, match="no dialect 'klingon'"):
        await begun(make("click-test", dialect="klingon"))


async def test_an_environment_alone_has_a_browser_of_its_own(browsers: object) -> None:
    env = MiniWoB("click-test")
    await begun(env)
    assert (await solved(env)).reward == 1.0
    await env.close()
    with pytest.raises(SandboxError, match="no page"):
        env.oracle()
