"""Hosts that allow less: no namespaces, no root. What is promised there holds, and what is not is said beforehand."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from agentenv.errors import ConfigError
from agentenv.sandbox import Cause, Isolation, Limits, Promise, SandboxFailed
from agentenv.sandbox.attacks import ATTACKS, Attack, attack
from agentenv_local import LocalSandboxes
from agentenv_local.jail import names
from agentenv_local.sandbox import LocalSandbox
from tests.sandbox.test_lifetime import children, gone

NEED_A_LIMITED_DISK = {"disk fill", "inode flood"}
WITHOUT_DISK = [Promise.DISK]

CLIENT = """
import asyncio
from agentenv.sandbox import Isolation, Promise
from agentenv_local import LocalSandboxes

async def main():
    sandboxes = LocalSandboxes(isolation=Isolation.RESTRICTED, without=[Promise.DISK], warm=1)
    await sandboxes.open()
    sandbox = await sandboxes.create()
    await sandbox.exec("sleep 1000 & setsid sleep 1000 &")
    print(sandboxes.pid, flush=True)
    await sandbox.exec("sleep 1000", wall_seconds=600)

asyncio.run(main())
"""

PROBE = """
import asyncio, json
from agentenv.sandbox import Promise
from agentenv.sandbox.attacks import attack
from agentenv_local import LocalSandboxes

async def main():
    promises = await LocalSandboxes().probe()
    found = {"isolation": promises.isolation, "broken": list(promises.broken), "out": [], "user": ""}
    async with LocalSandboxes(isolation=promises.isolation, without=list(promises.broken), warm=0) as sandboxes:
        async with sandboxes.sandbox() as sandbox:
            found["user"] = (await sandbox.exec("id -u")).stdout.text.strip()
        found["out"] = [one.attack.name async for one in attack(sandboxes) if not one.contained]
    print(json.dumps(found))

asyncio.run(main())
"""


NONE_LEFT = """
import asyncio
from agentenv.sandbox import SandboxFailed
from agentenv_local import LocalSandboxes

async def main():
    print((await LocalSandboxes().probe()).isolation)
    async with LocalSandboxes(warm=0, without=["memory limit", "cpu limit", "process limit"]) as sandboxes:
        try:
            await sandboxes.create()
        except SandboxFailed as error:
            print(error)

asyncio.run(main())
"""


@pytest_asyncio.fixture
async def sandboxes(limits: Limits) -> AsyncIterator[LocalSandboxes]:
    made = LocalSandboxes(isolation=Isolation.RESTRICTED, limits=limits, without=WITHOUT_DISK, warm=1)
    async with made:
        yield made


@pytest_asyncio.fixture
async def sandbox(sandboxes: LocalSandboxes) -> AsyncIterator[LocalSandbox]:
    async with await sandboxes.create() as made:
        yield made


def folders(zygote: int) -> set[str]:
    return {path.name for path in Path("/tmp").glob(f"{names.PREFIX}-{zygote}-*")}


async def test_less_than_everything_has_to_be_accepted_in_so_many_words() -> None:
    with pytest.raises(ConfigError, match=r"cannot promise disk limit.*without=\[Promise.DISK\]"):
        async with LocalSandboxes(isolation=Isolation.RESTRICTED):
            pass
    with pytest.raises(ConfigError, match="namespaces or restricted, not 'container'"):
        LocalSandboxes(isolation=Isolation.CONTAINER)


async def test_programs_run_and_every_record_says_how_well_they_were_held(sandbox: LocalSandbox) -> None:
    result = await sandbox.exec('echo "$GREETING"; pwd', env={"GREETING": "hi"})
    assert (result.cause, result.isolation) == (Cause.OK, Isolation.RESTRICTED)
    assert result.stdout.text.startswith("hi\n/tmp/agentenv-")
    assert (await sandbox.run_python("import tempfile; print(open(tempfile.mktemp(), 'w').write('x'))")).ok
    async with await sandbox.python() as session:
        await session.run("x = 1")
        async with await session.fork() as other:
            assert (await other.run("x + 1")).stdout.text == "2\n"


async def test_files_are_kept_and_taken_along(sandbox: LocalSandbox) -> None:
    await sandbox.exec("mkdir kept; echo 1 > kept/a; ln kept/a kept/b; ln -s a kept/link; echo 2 > $TMPDIR/c")
    snapshot = await sandbox.snapshot()
    await sandbox.exec("rm -r kept; echo 3 > $TMPDIR/c")
    await sandbox.restore(snapshot)
    async with await sandbox.fork() as other:
        for each in (sandbox, other):
            assert (await each.exec("cat kept/b kept/link $TMPDIR/c")).stdout.text == "1\n1\n2\n"
    stats = await sandbox.stats()
    assert stats.files == 5


async def test_a_snapshot_fits_a_sandbox_of_namespaces(sandbox: LocalSandbox, limits: Limits) -> None:
    await sandbox.write("kept/a", b"1")
    async with LocalSandboxes(limits=limits, warm=0) as walled, walled.sandbox() as other:
        await other.restore(await sandbox.snapshot())
        assert await other.read("/sandbox/kept/a") == b"1"


async def test_each_limit_that_is_met_is_named(sandboxes: LocalSandboxes, limits: Limits) -> None:
    tight = dataclasses.replace(limits, cpu_seconds=0.3, output_bytes=1000)
    async with sandboxes.sandbox(tight) as sandbox:
        assert (await sandbox.exec("while :; do :; done")).cause is Cause.CPU
        assert (await sandbox.run_python("x = bytearray(10**9)")).cause is Cause.OOM
        assert (await sandbox.exec("head -c 2000 /dev/zero")).cause is Cause.OUTPUT
        assert (await sandbox.exec("for i in $(seq 100); do sleep 3 & done; wait")).cause is Cause.PIDS
        await sandbox.kill()
        assert (await sandbox.stats()).pids == 0  # all are buried before `kill` returns


async def test_who_takes_too_long_is_ended_with_whatever_it_began(sandbox: LocalSandbox) -> None:
    result = await sandbox.exec("trap '' TERM; (setsid sleep 60 &) ; sleep 60", wall_seconds=0.3)
    assert result.cause is Cause.WALL
    async with asyncio.timeout(20):
        while (await sandbox.stats()).pids:  # who has ended is counted until he is buried
            pass


@pytest.mark.parametrize("one", ATTACKS, ids=lambda one: one.name)
async def test_an_attack_is_contained_or_nobody_has_promised_it(sandboxes: LocalSandboxes, one: Attack) -> None:
    promised = one.name not in NEED_A_LIMITED_DISK
    outcomes = [outcome async for outcome in attack(sandboxes, [one])]
    assert [(outcome.contained, outcome.promised) for outcome in outcomes] == [(promised, promised)], outcomes
    assert outcomes[0].by


async def test_other_sandboxes_and_the_host_are_out_of_sight(sandboxes: LocalSandboxes, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret")
    async with sandboxes.sandbox() as one, sandboxes.sandbox() as other:
        await other.write("mine", b"s3cret")
        place = (await other.exec("pwd")).stdout.text.strip()
        seen = await one.exec(f"cat {place}/mine {tmp_path}/secret /etc/hostname; ls /proc /tmp {place}; ls {place}/..")
        assert seen.stdout.text == ""
        assert seen.exit_code != 0


async def test_killing_the_client_leaves_nothing() -> None:
    client = await asyncio.create_subprocess_exec(sys.executable, "-c", CLIENT, stdout=subprocess.PIPE)
    assert client.stdout is not None
    zygote = int(await client.stdout.readline())
    processes = children(zygote) | {zygote}
    assert len(processes) >= 4
    assert folders(zygote)
    client.kill()
    await client.wait()
    await gone(zygote, processes)
    async with asyncio.timeout(20):
        while folders(zygote):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)


async def test_a_warden_that_is_killed_takes_its_programs_along(sandboxes: LocalSandboxes) -> None:
    sandbox = await sandboxes.create()
    before = children(sandboxes.pid)
    running = asyncio.create_task(sandbox.exec("setsid sleep 1000 & sleep 1000", wall_seconds=600))
    while len(children(sandboxes.pid) - before) < 3:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.01)
    programs = children(sandboxes.pid) - before
    warden = next(pid for pid in before if programs <= children(pid))
    os.kill(warden, signal.SIGKILL)
    with pytest.raises(SandboxFailed, match="its first process ended"):
        await running
    assert not [pid for pid in programs if names.started(pid)]


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="only root can take namespaces away")
def test_a_host_without_namespaces_offers_what_it_has() -> None:
    none_are_left = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "sh", "-c", none_are_left, "-", sys.executable, "-c", NONE_LEFT]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    isolation, advice = found.stdout.splitlines()
    assert isolation == "restricted"
    assert "isolation=Isolation.RESTRICTED needs no namespaces" in advice


@pytest.fixture(scope="session")
def everybodys_python() -> Iterator[str]:
    """An interpreter that other users may run as well, with what this one has installed."""
    system = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    if os.geteuid() != 0 or not os.path.exists(system):
        pytest.skip(f"needs root, who can be anybody, and {system}, which anybody can run")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        subprocess.run([system, "-m", "venv", "--without-pip", folder], check=True)
        packages = next(Path(folder).glob("lib/python*/site-packages"))
        (packages / "everything.pth").write_text("\n".join(path for path in sys.path if path))
        yield f"{folder}/bin/python"


@pytest.mark.parametrize("user", [0, 65534], ids=["root", "nobody"])
def test_whoever_has_no_control_groups_or_is_not_root_is_held_to_the_rest(everybodys_python: str, user: int) -> None:
    command = ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups", everybodys_python, "-c", PROBE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd="/")
    if "ModuleNotFoundError" in done.stderr:
        pytest.skip("this checkout or its packages are not readable for others")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["isolation"], found["user"]) == ("namespaces", "1000")
    if user == 0:
        assert (found["broken"], found["out"]) == ([], [])
    else:
        assert set(found["broken"]) == {"memory limit", "cpu limit"}
        assert found["out"] == ["memory bomb"]  # it ends with a MemoryError of its own, each process by itself
