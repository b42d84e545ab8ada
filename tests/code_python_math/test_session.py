"""A Python session to work a problem out: it remembers, it is bounded, and it may die without harm."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

import agentenv
from agentenv.env import Action
from agentenv.errors import SandboxError
from agentenv.messages import assistant
from agentenv.outcome import Status, classify
from agentenv.sandbox import Isolation
from agentenv_code.python_math.env import PythonMath
from tests.environments.playing import call, play, play_oracle

LOST = "[a new session was begun; all variables are gone]\n"


@pytest_asyncio.fixture
async def env() -> AsyncIterator[PythonMath]:
    made = PythonMath(code_seconds=2.0)
    await made.reset(seed=1)
    yield made
    await made.close()


async def said(env: PythonMath, code: str) -> str:
    result = await env.step(Action(call("python", json.dumps({"code": code}))))
    return result.observation.messages[0].text


async def test_the_oracle_earns_full_marks_with_two_turns() -> None:
    env = agentenv.make("code/python-math-v0")
    for task in env.tasks("train").head(3):
        played = await play_oracle(env, task)
        assert (played.total, len(played.steps)) == (1.0, 2)
        assert played.steps[0].observation.messages[0].text == str(task.answer)
    await env.close()


async def test_the_right_number_is_paid_however_it_was_found_and_another_is_not(env: PythonMath) -> None:
    task = env.tasks("train").task(0)
    assert (await play(env, [f"I guess \\boxed{{{task.answer}.0}}"], task)).total == 1.0
    assert (await play(env, [f"I guess \\boxed{{{task.answer + 1}}}"], task)).total == 0.0
    assert (await play(env, [str(task.answer)], task)).total == 0.0


async def test_variables_live_on_and_a_last_expression_is_shown(env: PythonMath) -> None:
    await said(env, "import math\nx = math.factorial(20)")
    assert await said(env, "print('x is', x)\nx // 10**12") == "x is 2432902008176640000\n2432902"
    assert (await said(env, "x + undefined")).endswith("NameError: name 'undefined' is not defined\n[exit code 1]")


async def test_output_is_shown_by_its_head_and_its_tail(env: PythonMath) -> None:
    text = await said(env, "for n in range(100_000): print(n)")
    assert text.startswith("0\n1\n2\n")
    assert text.endswith("\n99999")
    assert len(text) < 4_100


async def test_code_that_takes_too_long_is_stopped_and_the_variables_live_on(env: PythonMath) -> None:
    await said(env, "x = 7")
    assert (await said(env, "while True: pass")).endswith("[stopped: it took longer than 2 s]")
    assert await said(env, "x") == "7"


@pytest.mark.parametrize(
    "code",
    [
        "import os; os._exit(0)",
        "import os; os.kill(os.getpid(), 9)",
        "kept = [b'x' * 2**20 for _ in range(2000)]",
    ],
)
async def test_a_session_that_dies_is_told_and_another_begun(env: PythonMath, code: str) -> None:
    await said(env, "x = 7")
    await said(env, code)
    assert await said(env, "print(globals().get('x'))") == f"{LOST}None"
    result = await env.step(Action(assistant("\\boxed{0}")))
    assert result.terminated
    assert result.info["metrics"]["sessions"] == 2
    assert result.info["isolation"] is Isolation.NAMESPACES


async def test_a_sandbox_that_fails_is_a_sandbox_error_and_no_answer_that_is_wrong(env: PythonMath) -> None:
    await said(env, "x = 7")
    backend = await env._sandboxes.backend()
    await backend.close()
    with pytest.raises(SandboxError) as caught:
        await said(env, "x")
    assert classify(caught.value, "python").status is Status.SANDBOX_ERROR
