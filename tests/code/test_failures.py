"""What fails beside the program is not the program's failure; and whatever ends a grading leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from agentenv.outcome import Status
from agentenv.policy.scripted import ScriptedPolicy
from agentenv.registry import spec
from agentenv.rollout import RolloutConfig, RolloutEngine, group_requests
from agentenv.sandbox import SandboxFailed
from agentenv_code.grading.attacks import HONEST
from agentenv_code.grading.grader import Grader
from agentenv_code.grading.trial import GRADERS
from agentenv_code.synthesis.env import Synthesis
from agentenv_local import LocalSandboxes

STUCK = "import time\ndef solve(x):\n    time.sleep(60)\n\nif __name__ == '__main__':\n    time.sleep(60)"


async def settled(grading: asyncio.Task[Any], backend: LocalSandboxes) -> None:
    """Waits until a program runs."""
    async with asyncio.timeout(10):
        while not any([(await box.stats()).pids for box in list(backend._sandboxes.values())]):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert not grading.done()


@pytest.mark.parametrize("name", GRADERS)
async def test_a_sandbox_that_dies_while_it_grades_is_never_a_zero(
    backend: LocalSandboxes, grader: Grader, name: str
) -> None:
    grading = asyncio.create_task(grader.grade(STUCK, GRADERS[name]))
    await settled(grading, backend)
    os.kill(backend.pid, signal.SIGKILL)
    with pytest.raises(SandboxFailed):
        await grading


async def test_an_episode_whose_sandbox_dies_has_no_reward() -> None:
    killed = asyncio.Event()

    class Doomed(Synthesis):
        async def setup(self) -> None:
            await super().setup()
            backend = await self._sandboxes.backend()
            assert isinstance(backend, LocalSandboxes)
            os.kill(backend.pid, signal.SIGKILL)
            killed.set()

    policy = ScriptedPolicy([f"```python\n{HONEST}```"])
    wanted = spec("code/functions-v0")
    config = RolloutConfig.model_validate({"retry": {"attempts": 0}})
    async with RolloutEngine(policy, config, make_env=lambda _: Doomed()) as engine:
        episodes = [one async for one in engine.run(group_requests(wanted, Synthesis().tasks().head(1)))]
    assert killed.is_set()
    assert [(one.status, one.reward) for one in episodes] == [(Status.SANDBOX_ERROR, None)]


@pytest.mark.parametrize("name", GRADERS)
async def test_a_grading_that_is_cancelled_leaves_no_sandbox(
    backend: LocalSandboxes, grader: Grader, name: str
) -> None:
    grading = asyncio.create_task(grader.grade(STUCK, GRADERS[name]))
    await settled(grading, backend)
    grading.cancel()
    await asyncio.wait([grading])
    assert grading.cancelled()
    async with asyncio.timeout(10):
        while set(backend._sandboxes.values()) - set(backend._ready):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def test_sixty_four_gradings_at_once_all_come_right(backend: LocalSandboxes, grader: Grader) -> None:
    names = list(GRADERS) * 16
    codes = [HONEST if number % 8 < 4 else HONEST.replace("x * x", "x + x") for number in range(64)]
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        gradings = [
            group.create_task(grader.grade(code, GRADERS[name])) for name, code in zip(names, codes, strict=True)
        ]
    assert [grading.result().solved for grading in gradings] == [code == HONEST for code in codes]
    assert not any(grading.result().tampering for grading in gradings)
