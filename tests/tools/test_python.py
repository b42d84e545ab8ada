"""The world of Python: programs in a sandbox that lives as long as the episode."""

from __future__ import annotations

import json

import pytest

from agentenv.errors import SandboxError, UnsupportedError
from agentenv.messages import Message, ToolCall, assistant
from agentenv.sandbox.sharing import BorrowedBackend
from agentenv_tools.errands.office import Office
from agentenv_tools.errands.python import PythonErrands
from agentenv_tools.worlds import PythonWorld
from tests.environments.playing import play, play_oracle
from tests.support.local_sandboxes import host
from tests.tools.worlds import called, made

__all__ = ["host"]


def program(code: str) -> Message:
    return assistant(None, ToolCall("c", "python", json.dumps({"code": code})))


async def ran(*programs: str) -> list[str]:
    """What each of these programs of one episode is told to have done."""
    sandboxes = BorrowedBackend("local")
    world = made(PythonWorld, sandboxes=sandboxes)
    try:
        return [str(await called(world, "python", code=code)) for code in programs]
    finally:
        await world.close()
        await sandboxes.close()


async def test_a_program_is_told_what_it_printed_and_what_went_wrong() -> None:
    printed, silent, failed = await ran("print(6 * 7)", "1 + 1", "print('a')\n1 / 0")
    assert (printed, silent) == ("42", "[it printed nothing]")
    assert failed.startswith("a\n")
    assert "ZeroDivisionError" in failed


async def test_files_stay_and_variables_do_not() -> None:
    first, second = await ran(
        "x = 1\nopen('x.txt', 'w').write('kept')", "print(open('x.txt').read(), 'x' in globals())"
    )
    assert first == "[it printed nothing]"
    assert second == "kept False"


async def test_chance_is_the_same_in_every_episode() -> None:
    code = "import random; print(random.random())"
    assert await ran(code) == await ran(code)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("print('x' * 10**8)", "[stopped: it wrote more than"),
        ("x = bytearray(10**10)", "[stopped: it needed more than 536,870,912 bytes of memory]"),
        ("import os\nos._exit(3)", "[exit code 3]"),
        ("import urllib.request as r\nr.urlopen('http://192.0.2.1', timeout=3)", "Error"),
    ],
)
async def test_a_program_that_misbehaves_is_told_so(code: str, says: str) -> None:
    (told,) = await ran(code)
    assert says in told


async def test_what_a_program_floods_is_cut_off_and_that_is_said() -> None:
    env = PythonErrands(characters=500)
    try:
        played = await play(env, [program("print('x' * 100_000)")])
        text = played.last.observation.messages[0].text
        assert len(text) < 600
        assert text.endswith("[cut off: these are 500 of 100,000 characters]")
    finally:
        await env.close()


async def test_the_oracle_runs_its_program_and_answers() -> None:
    env = PythonErrands()
    try:
        for task in env.tasks("dev").head(8):
            played = await play_oracle(env, task)
            printed = played.steps[0].observation.messages[0].text
            assert (played.total, printed) == (1.0, str(task.answer["answer"]))
    finally:
        await env.close()


async def test_an_answer_that_is_almost_right_earns_nothing() -> None:
    env = PythonErrands()
    (task,) = env.tasks("dev").head(1)
    wrong = task.answer["answer"] + 1
    for reply in (f"ANSWER: {wrong}", "ANSWER: 1 2 3", f"ANSWER: {wrong}\nANSWER: {task.answer['answer']}"):
        assert (await play(env, [reply], task)).total == 0.0


async def test_an_episode_in_which_python_was_run_cannot_be_snapshotted() -> None:
    env = Office()
    try:
        await play(env, [])
        env.snapshot()
        await play(env, [program("print(1)")])
        with pytest.raises(UnsupportedError, match="in which Python was run"):
            env.snapshot()
    finally:
        await env.close()


async def test_that_there_is_no_sandbox_is_a_failure_and_nothing_a_policy_reads() -> None:
    with pytest.raises(SandboxError, match=r"no sandbox to run Python in: .*nowhere"):
        await play(PythonErrands(sandbox="nowhere"), [program("print(1)")])
