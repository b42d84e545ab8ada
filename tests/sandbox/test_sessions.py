"""A Python session keeps its variables, is interrupted without losing them, and can be forked."""

from __future__ import annotations

import asyncio

import pytest

from agentenv.sandbox import Cause, Sandbox, SandboxFailed


async def test_variables_live_on_and_a_last_expression_is_shown(sandbox: Sandbox) -> None:
    async with await sandbox.python() as session:
        assert (await session.run("x = 6\ndef double(n):\n    return 2 * n")).stdout.text == ""
        assert (await session.run("print('go')\ndouble(x)")).stdout.text == "go\n12\n"
        assert (await session.run("None")).stdout.text == ""


async def test_a_mistake_is_told_and_nothing_is_lost(sandbox: Sandbox) -> None:
    async with await sandbox.python() as session:
        await session.run("x = 1")
        result = await session.run("y = 2\n1 / 0")
        assert (result.cause, result.exit_code) == (Cause.PROGRAM_ERROR, 1)
        assert result.stderr.text.splitlines()[1:3] == ['  File "<2>", line 2, in <module>', "    1 / 0"]
        assert (await session.run("if :")).stderr.text.endswith("SyntaxError: invalid syntax\n")
        assert (await session.run("import sys; sys.exit(2)")).exit_code == 2
        assert (await session.run("x, y")).stdout.text == "(1, 2)\n"


async def test_code_that_takes_too_long_is_interrupted_and_the_variables_stay(sandbox: Sandbox) -> None:
    async with await sandbox.python() as session:
        result = await session.run("x = 1\nimport time\ntime.sleep(60)", wall_seconds=0.2)
        assert result.cause is Cause.WALL
        assert "KeyboardInterrupt" in result.stderr.text
        assert (await session.run("x")).stdout.text == "1\n"


async def test_code_that_does_not_heed_an_interrupt_loses_the_session(sandbox: Sandbox) -> None:
    async with await sandbox.python() as session:
        code = "import time\nwhile True:\n    try:\n        time.sleep(60)\n    except BaseException:\n        pass"
        assert (await session.run(code, wall_seconds=0.2)).cause is Cause.WALL
        with pytest.raises(SandboxFailed, match="begin another"):
            await session.run("1")
    assert (await sandbox.exec("true")).ok


async def test_a_session_that_ends_itself_says_so(sandbox: Sandbox) -> None:
    async with await sandbox.python() as session:
        result = await session.run("import os; os._exit(7)")
        assert (result.cause, result.exit_code) == (Cause.PROGRAM_ERROR, 7)


async def test_a_fork_has_the_variables_and_goes_its_own_way(sandbox: Sandbox) -> None:
    async with await sandbox.python() as session:
        await session.run("import random\nx = [1]\nrandom.seed(1)")
        async with await session.fork() as other, await other.fork() as third:
            assert (await other.run("x.append(2); x")).stdout.text == "[1, 2]\n"
            assert (await session.run("x")).stdout.text == "[1]\n"
            assert (await third.run("x")).stdout.text == "[1]\n"
            drawn = [(await each.run("random.random()")).stdout.text for each in (session, other, third)]
            assert len(set(drawn)) == 3


async def test_sessions_of_a_sandbox_do_not_wait_for_each_other(sandbox: Sandbox) -> None:
    async with await sandbox.python() as one, await sandbox.python() as other:
        slow = asyncio.create_task(one.run("import time; time.sleep(0.5); 'slow'"))
        assert (await other.run("'quick'")).stdout.text == "'quick'\n"
        assert not slow.done()
        assert (await slow).stdout.text == "'slow'\n"


async def test_memory_that_runs_out_ends_the_session_alone(sandbox: Sandbox) -> None:
    async with await sandbox.python() as session:
        assert (await session.run("x = bytearray(10**9)")).cause is Cause.OOM
    assert (await sandbox.exec("true")).ok


@pytest.mark.parametrize("said", ["b'\\xff' * 100", "b'\\x02\\0\\0\\0\\0[]'", "b'\\x02\\0\\0\\0\\0{}'"])
async def test_what_code_says_in_its_interpreters_name_ends_nothing_but_the_session(
    sandbox: Sandbox, said: str
) -> None:
    loop = "for number in range(3, 10):\n    try:\n        os.write(number, said)\n    except OSError:\n        pass"
    async with await sandbox.python() as session, asyncio.timeout(10):
        result = await session.run(f"import os\nsaid = {said}\n{loop}")
        assert result.cause in (Cause.OK, Cause.PROGRAM_ERROR)
    assert (await sandbox.exec("true")).ok
