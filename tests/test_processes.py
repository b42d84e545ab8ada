"""Isolated calls: what comes back, and what is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from agentenv.errors import AgentenvError, VerifierError
from agentenv.processes import IsolatedCrashError, IsolatedTimeoutError, run_isolated, worker_count
from tests.isolated_functions import add

HANGS = ["hang", "hang_in_c"]
ROOT = Path(__file__).parent.parent


async def isolated(name: str, *args: object, timeout: float = 30.0) -> object:
    return await run_isolated(f"tests.isolated_functions:{name}", *args, timeout=timeout)


async def test_a_function_given_itself_or_by_name_runs_in_another_process() -> None:
    assert await run_isolated(add, 2, 3, timeout=30) == 5
    assert await isolated("add", 2, 3) == 5
    assert await isolated("process_id") != os.getpid()


async def test_workers_stay_warm() -> None:
    seen = {await isolated("process_id") for _ in range(20)}
    assert len(seen) <= worker_count()


@pytest.mark.parametrize("hanging", HANGS)
async def test_a_hanging_call_is_killed_and_named(hanging: str, tmp_path: Path) -> None:
    report = tmp_path / "pid"
    with pytest.raises(IsolatedTimeoutError, match=f"tests.isolated_functions:{hanging} did not end within 0.3 s"):
        await isolated(hanging, str(report), timeout=0.3)
    await _gone(int(report.read_text()))
    assert await isolated("add", 1, 1) == 2


def test_timeouts_and_crashes_are_blamed_on_the_verifier() -> None:
    assert issubclass(IsolatedTimeoutError, VerifierError)
    assert issubclass(IsolatedCrashError, VerifierError)


@pytest.mark.parametrize("hanging", HANGS)
async def test_cancelling_a_call_kills_its_worker(hanging: str, tmp_path: Path) -> None:
    report = tmp_path / "pid"
    running = asyncio.create_task(isolated(hanging, str(report), timeout=3600))  # type: ignore[arg-type]
    pid = await _read_when_there(report)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await _gone(pid)
    assert await isolated("add", 1, 1) == 2


async def test_hanging_calls_do_not_keep_others_from_being_answered(tmp_path: Path) -> None:
    async def hang(index: int) -> None:
        with pytest.raises(IsolatedTimeoutError):
            await isolated("hang", str(tmp_path / str(index)), timeout=0.2)

    async with asyncio.TaskGroup() as group:
        for index in range(2 * worker_count()):
            group.create_task(hang(index))
        sums = [group.create_task(run_isolated(add, index, 1, timeout=30)) for index in range(20)]
    assert [task.result() for task in sums] == list(range(1, 21))


async def test_a_crash_is_reported_with_its_exit_code_and_the_worker_replaced() -> None:
    with pytest.raises(IsolatedCrashError, match=r"die: its process died \(exit code 7\)"):
        await isolated("die", 7)
    assert await isolated("add", 1, 1) == 2


async def test_the_functions_own_exceptions_come_back_as_they_are() -> None:
    with pytest.raises(ValueError, match="no, thank you"):
        await isolated("refuse", "no, thank you")
    with pytest.raises(TimeoutError, match="from within"):
        await isolated("time_out_by_itself")


async def test_too_much_memory_is_an_error_of_the_call_not_of_the_machine() -> None:
    with pytest.raises(MemoryError):
        await isolated("take_memory", 64 * 2**30)


async def test_a_missing_function_is_named() -> None:
    with pytest.raises(AttributeError, match="no_such_function"):
        await isolated("no_such_function")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        await run_isolated("no_such_module:function", timeout=30)
    assert await isolated("add", 1, 1) == 2


async def test_a_function_without_an_importable_name_is_refused() -> None:
    with pytest.raises(AgentenvError, match="top of an importable module"):
        await run_isolated(lambda: 1, timeout=30)


async def test_workers_killed_from_outside_are_replaced() -> None:
    for _ in range(3):
        pid = await isolated("process_id")
        assert isinstance(pid, int)
        os.kill(pid, signal.SIGKILL)
        await _gone(pid)
        assert await isolated("add", 1, 1) == 2


def test_several_event_loops_share_the_workers() -> None:
    results: list[object] = []
    threads = [
        threading.Thread(target=lambda: results.append(asyncio.run(run_isolated(add, 20, 22, timeout=30))))  # type: ignore[arg-type]
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [42] * 4


UNGUARDED = """
    import asyncio, pathlib, sys
    from agentenv.processes import run_isolated
    with open(sys.argv[1] + ".imports", "a") as file:
        file.write("imported\\n")
    name, *rest = sys.argv[2:]
    print(asyncio.run(run_isolated("tests.isolated_functions:" + name, *rest, timeout=3600)))
"""


def _script(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(UNGUARDED))
    command = [sys.executable, str(script), str(tmp_path / "run"), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_script_without_a_main_guard_runs_once_and_leaves_nothing_behind(tmp_path: Path) -> None:
    process = _script(tmp_path, "process_id")
    out, err = process.communicate(timeout=60)
    assert err == ""
    assert (tmp_path / "run.imports").read_text() == "imported\n"
    assert not _alive(int(out))


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
@pytest.mark.parametrize("hanging", HANGS)
async def test_no_worker_outlives_a_killed_parent(hanging: str, tmp_path: Path) -> None:
    report = tmp_path / "pid"
    process = _script(tmp_path, hanging, str(report))
    pid = await _read_when_there(report)
    process.kill()
    process.communicate(timeout=60)
    await _gone(pid)


async def _read_when_there(report: Path) -> int:
    """The number in a file another process writes; the test's own time limit ends a wait in vain."""
    while not report.exists():  # noqa: ASYNC110, ASYNC240  # nobody in this process could set an event
        await asyncio.sleep(0.01)
    return int(report.read_text())  # noqa: ASYNC240


async def _gone(pid: int) -> None:
    while _alive(pid):  # noqa: ASYNC110  # as above
        await asyncio.sleep(0.01)


def _alive(pid: int) -> bool:
    """Whether the process runs; one that is dead and merely not reaped yet does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # the latter where it ends between opening and reading
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"
