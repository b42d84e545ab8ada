"""Nothing is left behind: after close, when the zygote dies, and after `kill -9` of whoever made the sandboxes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agentenv.errors import ConfigError
from agentenv.sandbox import Limits, SandboxFailed
from agentenv_local import LocalSandboxes, backend
from agentenv_local.jail import cgroups, names

PARENT = """
import asyncio, os, sys
from agentenv_local import LocalSandboxes

async def main():
    sandboxes = LocalSandboxes(warm=2)
    await sandboxes.open()
    sandbox = await sandboxes.create()
    await sandbox.exec("sleep 1000 & setsid sleep 1000 &")
    await sandbox.python()
    print(sandboxes.pid, flush=True)
    await sandbox.exec("sleep 1000", wall_seconds=600)

asyncio.run(main())
"""


def children(pid: int) -> set[int]:
    """All processes below this one."""
    try:
        direct = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return set()
    return {int(child) for child in direct}.union(*(children(int(child)) for child in direct))


def groups(zygote: int) -> set[Path]:
    """The control groups that this zygote has made; others may work here at the same time."""
    return {group for parent in cgroups.find().parents for group in parent.glob(f"{names.PREFIX}-{zygote}-*")}


async def gone(zygote: int, pids: set[int]) -> None:
    """Waits until no process of these lives and none of the zygote's groups is left."""
    async with asyncio.timeout(20):
        while any(names.started(pid) for pid in pids) or groups(zygote):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)


async def test_closing_leaves_nothing() -> None:
    async with LocalSandboxes(warm=2) as sandboxes:
        sandbox = await sandboxes.create()
        await sandbox.exec("sleep 1000 & setsid sleep 1000 &")
        zygote = sandboxes.pid
        processes = children(zygote) | {zygote}
        assert len(processes) >= 4
        assert groups(zygote)
    await gone(zygote, processes)


async def test_killing_the_client_leaves_nothing() -> None:
    client = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, stdout=subprocess.PIPE)
    assert client.stdout is not None
    zygote = int(await client.stdout.readline())
    processes = children(zygote) | {zygote}
    assert len(processes) >= 6
    client.kill()
    await client.wait()
    await gone(zygote, processes)


async def test_a_zygote_that_dies_takes_its_sandboxes_along_and_is_no_programs_failure() -> None:
    sandboxes = LocalSandboxes(warm=0)
    await sandboxes.open()
    sandbox = await sandboxes.create()
    processes = children(sandboxes.pid)
    running = asyncio.create_task(sandbox.exec("sleep 1000", wall_seconds=600))
    while not (await sandbox.exec("pgrep sleep")).ok:
        pass
    dead = sandboxes.pid
    os.kill(dead, signal.SIGKILL)
    with pytest.raises(SandboxFailed):
        await running
    with pytest.raises(SandboxFailed):
        await sandboxes.create()
    await sandboxes.close()
    async with LocalSandboxes(warm=0):  # whoever comes next clears away what the dead one could not
        await gone(dead, processes)


async def test_many_sandboxes_leave_no_descriptor_and_no_process() -> None:
    async with LocalSandboxes(warm=0, limits=Limits(files=100)) as sandboxes:
        async with sandboxes.sandbox() as sandbox:
            await sandbox.run_python("print(1)")
        held = len(os.listdir("/proc/self/fd"))
        for _ in range(30):
            async with sandboxes.sandbox() as sandbox:
                await sandbox.run_python("print(1)")
                async with await sandbox.python() as session:
                    await session.run("1")
        assert len(os.listdir("/proc/self/fd")) == held
        async with asyncio.timeout(20):
            while children(sandboxes.pid) or groups(sandboxes.pid):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)


async def test_a_module_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="no_such_module"):
        async with LocalSandboxes(preload=["no_such_module"]):
            pass


async def test_what_is_imported_beforehand_is_there_at_once() -> None:
    async with LocalSandboxes(preload=["decimal"], warm=0) as sandboxes, sandboxes.sandbox() as sandbox:
        result = await sandbox.run_python("import sys; print('decimal' in sys.modules, 'agentenv' in sys.modules)")
        assert result.stdout.text == "True False\n"


async def test_a_zygote_that_says_nothing_fails_whoever_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async with LocalSandboxes(warm=0) as sandboxes:
        monkeypatch.setattr(backend, "_ANSWER_SECONDS", 0.2)
        os.kill(sandboxes.pid, signal.SIGSTOP)
        try:
            with pytest.raises(SandboxFailed, match=r"has not answered for 0\.2 s"):
                await sandboxes.create()
        finally:
            os.kill(sandboxes.pid, signal.SIGCONT)
        monkeypatch.undo()
        async with await sandboxes.create() as sandbox:
            assert (await sandbox.exec("true")).ok


async def test_whoever_waits_behind_others_that_are_answered_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The zygote makes one sandbox after the other; together these take longer than it may be silent."""
    monkeypatch.setattr(backend, "_ANSWER_SECONDS", 0.5)
    async with LocalSandboxes(warm=0) as sandboxes:
        made = await asyncio.gather(*(sandboxes.create() for _ in range(200)))
        await asyncio.gather(*(sandbox.close() for sandbox in made))
