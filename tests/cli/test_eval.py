from __future__ import annotations

import asyncio
import contextlib
import re
import signal
from pathlib import Path

import pytest

from agentenv.outcome import Status
from agentenv.rollout import Journal
from tests.cli.support import Result, agentenv, command, environment
from tests.support.mock_openai import ChatRequest, Fault, FaultRule, MockOpenAI

EVAL = ("eval", "calculator-v0", "--policy", "oracle", "-n", "6")


async def run(*arguments: str, folder: Path) -> Result:
    """One run of the program beside servers of this process."""
    return await asyncio.to_thread(lambda: agentenv(*arguments, folder=folder))


def test_the_oracle_gets_full_marks_and_a_table(tmp_path: Path) -> None:
    result = agentenv(*EVAL, "-k", "2", folder=tmp_path)
    assert result.code == 0, result.err
    assert "1.0000 ± 0.0000" in result.out
    assert "12 scored of 12" in result.out
    (folder,) = (tmp_path / "runs").iterdir()
    assert {"config.json", "journal.sqlite", "summary.json"} <= {path.name for path in folder.iterdir()}
    assert f"run folder: {folder.relative_to(tmp_path)}" in result.out


def test_json_is_pure_and_the_same_command_resumes(tmp_path: Path) -> None:
    first, second = agentenv(*EVAL, "--json", folder=tmp_path), agentenv(*EVAL, "--json", folder=tmp_path)
    assert (
        first.json["reward"] == second.json["reward"] == {"mean": 1.0, "standard_error": 0.0, "count": 6, "clusters": 6}
    )
    with Journal.open(tmp_path / first.json["run"] / "journal.sqlite", create=False) as journal:
        assert journal.counts() == {Status.OK: 6}


def test_a_folder_of_another_protocol_is_refused_with_the_field(tmp_path: Path) -> None:
    assert agentenv(*EVAL, "--out", "run", folder=tmp_path).code == 0
    result = agentenv(*EVAL, "--out", "run", "--seed", "3", folder=tmp_path)
    assert result.code == 1
    assert "seed: 0 ≠ 3" in result.err
    assert "Traceback" not in result.err


async def test_a_model_behind_a_url_is_evaluated_and_failures_end_with_one(tmp_path: Path) -> None:
    rule = FaultRule(Fault.UNAUTHORISED, first_requests=2)
    async with MockOpenAI(lambda request: "I do not know", faults=[rule]) as server:
        arguments = ("eval", "calculator-v0", "--policy", f"openai:{server.base_url}", "-n", "5", "--temperature", "0")
        failed = await run(*arguments, folder=tmp_path)
        assert failed.code == 1
        assert "2 of 5 episodes were NOT scored" in failed.out
        assert "status 401" in failed.out
        assert server.requests[0].body["temperature"] == 0

        kept = await run(*arguments, "--json", folder=tmp_path)
        assert (kept.code, kept.json["unscored"], server.stats.requests) == (1, 2, 5)

        retried = await run(*arguments, "--retry", "errored", "--json", folder=tmp_path)
        assert (retried.code, retried.json["scored"], server.stats.requests) == (0, 5, 7)


def kept_in(run_folder: Path) -> int:
    """How many episodes the journal holds, read from outside while the run goes on."""
    with Journal.open(run_folder / "journal.sqlite", create=False) as journal:
        return journal.counts().get(Status.OK, 0)


async def interrupt(
    arguments: tuple[str, ...], folder: Path, number: signal.Signals, when: asyncio.Event, kept: int
) -> Result:
    """Starts the program; signals it once `when` is set and `kept` episodes are durable; waits for its end."""
    process = await asyncio.create_subprocess_exec(
        *command(*arguments),
        cwd=folder,
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            await when.wait()
            while kept_in(folder / "run") < kept:  # noqa: ASYNC110 - another process writes: there is no event
                await asyncio.sleep(0.01)
            process.send_signal(number)
            out, err = await process.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    return Result(process.returncode or 0, out.decode(), err.decode())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
async def test_an_interrupted_evaluation_keeps_what_is_finished_and_resumes(
    tmp_path: Path, number: signal.Signals
) -> None:
    answered: set[str] = set()
    enough, released = asyncio.Event(), asyncio.Event()

    async def script(request: ChatRequest) -> str:
        """Answers six questions one by one and holds the seventh back."""
        if len(answered) == 6 and not released.is_set():
            enough.set()
            await released.wait()
        answered.add(request.last_text)
        return "no idea"

    async with MockOpenAI(script) as server:
        policy = ("--policy", f"openai:{server.base_url}", "--max-concurrent", "1")
        arguments = ("eval", "calculator-v0", *policy, "-n", "9", "--out", "run")
        broken_off = await interrupt(arguments, tmp_path, number, enough, kept=6)
        if number is signal.SIGINT:
            assert broken_off.code == 130
            assert re.search(r"6( of 9)? episodes are kept in run\. The same command again resumes\.", broken_off.err)
            assert "Traceback" not in broken_off.err
        assert kept_in(tmp_path / "run") == 6
        released.set()
        before = server.stats.requests
        resumed = await run(*arguments, "--json", folder=tmp_path)
        assert (resumed.code, resumed.json["scored"]) == (0, 9), resumed.err
        assert server.stats.requests - before == 3
    with Journal.open(tmp_path / "run" / "journal.sqlite", create=False) as journal:
        assert journal.counts()[Status.OK] == 9
