"""A page that crashes or hangs and a browser that dies are nobody's zero."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable

import pytest

from agentenv.env import Action
from agentenv.episode import Episode
from agentenv.errors import SandboxError
from agentenv.messages import Message
from agentenv.outcome import Status
from agentenv.policy.contract import Session
from agentenv.policy.scripted import CallablePolicy
from agentenv.registry import EnvSpec
from agentenv.rollout import RolloutEngine, group_requests
from agentenv.rollout.config import RetryConfig, RolloutConfig
from agentenv.wrappers import Wrapper
from agentenv_gui.miniwob.env import MiniWoB
from agentenv_gui.miniwob.tasks import Assignment
from tests.gui_miniwob.conftest import Make, begun, shown, solved
from tests.support.chromium import require_chromium

pytestmark = pytest.mark.asyncio(loop_scope="session")

SPEC = EnvSpec(
    id="test/miniwob-v0", entry_point="agentenv_gui.miniwob.env:MiniWoB", kwargs={"tasks": "enter-text"}, max_turns=5
)
Mishap = Callable[[MiniWoB], Awaitable[None]]


async def crash(env: MiniWoB) -> None:
    env.stage.page.session.post("Page.crash")


async def kill(env: MiniWoB) -> None:
    os.kill(env.stage.page.browser.pid, signal.SIGKILL)


async def played(mishap: Mishap, episodes: int) -> list[Episode]:
    """Episodes one after the other; in the second turn of the first, something happens."""
    happened = False

    async def reply(messages: object, tools: object, session: Session) -> Message:
        nonlocal happened
        assert isinstance(session.env, Wrapper)
        env = session.env.unwrapped
        assert isinstance(env, MiniWoB)
        said = env.oracle()
        if env.turns == 1 and not happened:
            happened = True
            await mishap(env)
        return said

    require_chromium()
    config = RolloutConfig(max_concurrent=1, retry=RetryConfig(attempts=0))
    tasks = [Assignment("enter-text", seed).task("test") for seed in range(episodes)]
    async with RolloutEngine(CallablePolicy(reply), config=config) as engine:
        return await engine.collect(group_requests(SPEC, tasks))


@pytest.mark.parametrize("mishap", [crash, kill])
async def test_it_fails_its_episode_and_the_next_one_has_another(mishap: Mishap) -> None:
    first, second = await played(mishap, 2)
    assert (first.status, first.reward) == (Status.SANDBOX_ERROR, None)
    assert first.failure is not None
    assert (second.status, second.reward) == (Status.OK, 0.99)


async def test_a_script_that_does_not_end_in_an_action_is_stopped_and_the_policy_is_told(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentenv_gui.browser.patience.SCRIPT_SECONDS", 0.5)
    env = make("enter-text")
    await begun(env)
    env.stage.page.session.post("Runtime.evaluate", {"expression": "for (;;);"})
    result = await env.step(Action(env.oracle()))
    assert "A script of the page that did not end was stopped." in shown(result)
    assert (await solved(env)).reward == 0.99


async def test_a_page_whose_own_clock_never_comes_to_an_end_fails(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    env = make("enter-text")
    await begun(env)
    await env.stage.look_into("setTimeout(() => { for (;;); }, 10)")
    with monkeypatch.context() as patch:
        patch.setattr("agentenv_gui.miniwob.stage._SECONDS", 0.5)
        with pytest.raises(SandboxError, match="not answered"):
            await env.step(Action(env.oracle()))
    await begun(env)
    assert (await solved(env)).reward == 0.99, "on another page"
