"""A browser starts, and leaves nothing behind however it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
import tempfile
from pathlib import Path

import pytest

from agentenv.errors import ConfigError, MissingDataError, SandboxError
from agentenv_gui.browser import chromium as module
from agentenv_gui.browser.chromium import PROFILE_PREFIX, PROGRAM_VARIABLE, Chromium, find
from agentenv_gui.browser.memory import memory_of, processes_of
from agentenv_gui.browser.page import open_page
from tests.gui_browser.site import document
from tests.support.chromium import require_chromium

OWNER = """
import asyncio
from agentenv_gui.browser.chromium import Chromium

async def main():
    async with Chromium() as browser:
        print(browser.pid, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the test's browsers have their profiles."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def profiles(folder: Path) -> list[Path]:
    return list(folder.glob(PROFILE_PREFIX + "*"))


async def gone(processes: list[int], folder: Path) -> None:
    """Until none of them lives and no profile is left."""
    async with asyncio.timeout(20):
        while any(lives(pid) for pid in processes) or profiles(folder):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)


def lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


async def test_a_browser_ends_with_all_that_belongs_to_it(temporary_folder: Path) -> None:
    require_chromium()
    async with Chromium() as browser:
        async with open_page(browser) as page:
            await page.goto(document("here"))
            processes = processes_of(browser.pid)
            assert len(processes) > 2
            assert memory_of(browser.pid) > 30 * 2**20
            assert len(profiles(temporary_folder)) == 1
        assert browser.alive
    assert not browser.alive
    await gone(processes, temporary_folder)
    await browser.stop()


async def test_a_browser_that_is_killed_leaves_nothing_behind(temporary_folder: Path) -> None:
    require_chromium()
    async with Chromium() as browser:
        processes = processes_of(browser.pid)
        os.kill(browser.pid, signal.SIGKILL)
        await gone(processes, temporary_folder)
        with pytest.raises(SandboxError):
            await browser.connection.send("Browser.getVersion")
        assert not browser.alive


async def test_a_browser_ends_with_the_process_that_has_it_even_if_that_is_killed(temporary_folder: Path) -> None:
    require_chromium()
    owner = await asyncio.create_subprocess_exec(sys.executable, "-c", OWNER, stdout=asyncio.subprocess.PIPE)
    assert owner.stdout is not None
    async with asyncio.timeout(60):
        browser = int(await owner.stdout.readline())
    processes = processes_of(browser)
    assert len(processes) > 1
    owner.kill()
    await owner.wait()
    await gone(processes, temporary_folder)


async def test_a_browser_that_is_given_up_while_it_starts_leaves_nothing_behind(temporary_folder: Path) -> None:
    require_chromium()
    for _ in range(3):
        starting = asyncio.create_task(Chromium().__aenter__())
        while not profiles(temporary_folder):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await gone([], temporary_folder)


def program(folder: Path, script: str) -> str:
    file = folder / "browser"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return str(file)


async def test_a_browser_that_does_not_start_says_why(temporary_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "echo 'No usable sandbox!' >&2; exit 1"
    monkeypatch.setenv(PROGRAM_VARIABLE, program(temporary_folder, said))
    with pytest.raises(SandboxError, match=r"(?s)has ended at once.*No usable sandbox!"):
        async with Chromium():
            pass
    await gone([], temporary_folder)


async def test_a_browser_that_never_becomes_ready_is_given_up(
    temporary_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PROGRAM_VARIABLE, program(temporary_folder, "exec sleep 600"))
    monkeypatch.setattr(module, "START_SECONDS", 0.5)
    with pytest.raises(SandboxError, match=r"not become ready within 0\.5 s"):
        async with Chromium():
            pass
    await gone([], temporary_folder)


def test_a_missing_browser_is_said_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROGRAMS", ("no-such-browser",))
    with pytest.raises(MissingDataError, match="apt-get install chromium-headless-shell"):
        find()
    monkeypatch.setenv(PROGRAM_VARIABLE, "/no/such/program")
    with pytest.raises(ConfigError, match="there is no such program"):
        find()
