"""Nothing is left behind: after close, after `kill -9` of whoever made a container, and when an engine is not there."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from agentenv.cli import run
from agentenv.errors import ConfigError
from agentenv.sandbox import MIB, Cause, Isolation, Limits, Network, Promise, SandboxFailed
from agentenv.sandbox.registry import make_backend
from agentenv_docker import DockerSandboxes
from agentenv_docker.engine import is_stale, owner
from agentenv_docker.images import build
from tests.support.docker_engine import DockerEngine

pytestmark = pytest.mark.xdist_group("docker")

CLIENT = """
import asyncio
from agentenv_docker import DockerSandboxes

async def main():
    async with DockerSandboxes(warm=1) as sandboxes:
        sandbox = await sandboxes.create()
        await sandbox.exec("sleep 1000 & setsid sleep 1000 &")
        print(sandbox.container, flush=True)
        await sandbox.exec("sleep 1000", wall_seconds=600)

asyncio.run(main())
"""


SAYS_WHO = "from agentenv_docker.engine import owner; print(owner())"


async def containers(sandboxes: DockerSandboxes) -> set[str]:
    client = sandboxes.engine._client
    return {one["Id"] for one in await sandboxes.engine.call(lambda: client.containers(all=True))}


async def until_gone(sandboxes: DockerSandboxes, before: set[str]) -> None:
    async with asyncio.timeout(30):
        while await containers(sandboxes) - before:
            pass


async def test_closing_leaves_no_container(sandboxes: DockerSandboxes, engine: DockerEngine) -> None:
    before = await containers(sandboxes)
    async with DockerSandboxes(warm=1, url=engine.url) as others:
        sandbox = await others.create()
        await sandbox.exec("sleep 1000 & setsid sleep 1000 &")
        assert sandbox.container in await containers(sandboxes)
    await until_gone(sandboxes, before)


async def test_killing_the_client_leaves_no_container(sandboxes: DockerSandboxes) -> None:
    before = await containers(sandboxes)
    client = await asyncio.create_subprocess_exec(sys.executable, "-c", CLIENT, stdout=subprocess.PIPE)
    assert client.stdout is not None
    made = (await client.stdout.readline()).decode().strip()
    assert made in await containers(sandboxes)
    client.kill()
    await client.wait()
    await until_gone(sandboxes, before)


async def test_a_container_that_never_began_is_removed_by_the_next_client(
    sandboxes: DockerSandboxes, engine: DockerEngine
) -> None:
    said = await asyncio.create_subprocess_exec(sys.executable, "-c", SAYS_WHO, stdout=subprocess.PIPE)
    dead = (await said.communicate())[0].decode().strip()
    assert (is_stale(dead), is_stale(owner()), is_stale("another-machine:1:2")) == (True, False, False)
    client = sandboxes.engine._client
    labels = {"agentenv.owner": dead}
    made = client.create_container("agentenv/base", command="true", labels=labels)["Id"]
    async with DockerSandboxes(warm=0, url=engine.url):
        assert made not in await containers(sandboxes)


async def test_a_container_that_is_taken_away_is_no_programs_failure(sandboxes: DockerSandboxes) -> None:
    sandbox = await sandboxes.create()
    running = asyncio.create_task(sandbox.exec("sleep 1000", wall_seconds=600))
    while not (await sandbox.exec("pgrep sleep")).ok:
        pass
    assert sandbox.container is not None
    await sandboxes.engine.remove(sandbox.container)
    with pytest.raises(SandboxFailed, match="its first process ended"):
        await running
    await sandbox.close()


async def test_an_engine_that_is_not_there_is_one_clear_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=r"no Docker engine answers at unix:///nowhere.sock.*Start one"):
        async with DockerSandboxes(url="unix:///nowhere.sock"):
            pass


async def test_an_image_or_a_runtime_that_is_not_there_is_named(engine: DockerEngine) -> None:
    async with DockerSandboxes(image="no/such-image", warm=0, url=engine.url) as sandboxes:
        with pytest.raises(ConfigError, match=r"no image 'no/such-image'.*agentenv_docker build"):
            await sandboxes.create()
    async with DockerSandboxes(runtime="no-such-runtime", warm=0, url=engine.url) as sandboxes:
        with pytest.raises(ConfigError, match="runtime"):
            await sandboxes.create()


def test_an_image_that_cannot_be_built_is_named_with_those_that_can() -> None:
    with pytest.raises(ConfigError, match="no image 'scince' to build; there are base, science"):
        build("scince")


async def test_the_engine_promises_everything_but_what_needs_no_promise(engine: DockerEngine) -> None:
    promises = await DockerSandboxes(url=engine.url).probe()
    assert promises.isolation is Isolation.CONTAINER
    assert set(promises.broken) == {Promise.FILE_RULES}
    with pytest.raises(ConfigError, match=r"answers at unix:///nowhere.sock: No such file or directory\. Start one"):
        await DockerSandboxes(url="unix:///nowhere.sock").probe()


async def test_a_root_that_can_be_written_to_has_to_be_accepted_and_can_be_made_an_image(engine: DockerEngine) -> None:
    with pytest.raises(ConfigError, match=r"disk limit.*without=\[Promise.DISK\]"):
        async with DockerSandboxes(writable=True, url=engine.url):
            pass
    async with DockerSandboxes(writable=True, without=[Promise.DISK], warm=0, url=engine.url) as sandboxes:
        async with sandboxes.sandbox() as sandbox:
            assert (await sandbox.exec("echo '#!/bin/sh\necho mine' > /usr/bin/mine && chmod +x /usr/bin/mine")).ok
            await sandbox.commit("agentenv/test-commit")
        try:
            others = DockerSandboxes(image="agentenv/test-commit", warm=0, url=engine.url)
            async with others, others.sandbox() as sandbox:
                assert (await sandbox.exec("mine")).stdout.text == "mine\n"
        finally:
            client = sandboxes.engine._client
            await sandboxes.engine.call(lambda: client.remove_image("agentenv/test-commit", force=True))


async def test_a_session_keeps_its_variables_and_can_be_interrupted(sandboxes: DockerSandboxes) -> None:
    async with sandboxes.sandbox() as sandbox, await sandbox.python() as session:
        await session.run("x = 20\nprint('said')")
        assert (await session.run("x + 1")).stdout.text == "21\n"
        failed = await session.run("1 / 0")
        assert (failed.cause, failed.exit_code) == (Cause.PROGRAM_ERROR, 1)
        assert failed.stderr.text.startswith('Traceback (most recent call last):\n  File "<3>", line 1')
        assert (await session.run("while True: pass", wall_seconds=0.3)).cause is Cause.WALL
        flooded = await session.run("while True: print('x' * 10**5)")
        assert flooded.cause is Cause.OUTPUT
        assert (await session.run("x")).stdout.text == "20\n"
        gone = await session.run("import os; os._exit(3)")
        assert (gone.cause, gone.exit_code) == (Cause.PROGRAM_ERROR, 3)
        with pytest.raises(SandboxFailed, match="variables are lost"):
            await session.run("x")


async def test_a_reply_that_was_forged_is_not_taken_for_the_next_ones(engine: DockerEngine) -> None:
    forge = """
import os
for descriptor in range(3, 12):
    try:
        os.write(descriptor, bytes([7]))
    except OSError:
        pass
"""
    async with (
        DockerSandboxes(warm=0, url=engine.url) as sandboxes,
        sandboxes.sandbox() as sandbox,
        await sandbox.python() as session,
    ):
        assert (await session.run(forge)).exit_code == 7  # its own exit code may be anything, as with sys.exit
        later = await session.run("print('honest')")
        assert (later.cause, later.stdout.text) == (Cause.OK, "honest\n")


async def test_what_may_be_kept_is_the_sum_of_all_that_can_be_written(engine: DockerEngine) -> None:
    limits = Limits(disk_bytes=8 * MIB, files=80)
    async with DockerSandboxes(limits=limits, warm=0, url=engine.url) as sandboxes, sandboxes.sandbox() as sandbox:
        for folder in ("/sandbox", "/tmp", "/dev/shm"):
            filled = await sandbox.exec(f"head -c 100000000 /dev/zero > {folder}/big")
            assert filled.cause in (Cause.DISK, Cause.PROGRAM_ERROR)
        kept = await sandbox.exec("cat /sandbox/big /tmp/big /dev/shm/big | wc -c")
        assert 7 * MIB <= int(kept.stdout.text) <= 8 * MIB


def test_an_engine_that_is_reached_over_tls_or_ssh_is_refused_with_a_way() -> None:
    for url in ("https://far:2376", "ssh://far"):
        with pytest.raises(ConfigError, match=r"is none of unix://.*ssh -L"):
            asyncio.run(DockerSandboxes(url=url).open())


async def test_no_network_unless_it_is_asked_for(sandboxes: DockerSandboxes) -> None:
    async with sandboxes.sandbox() as sandbox:
        assert (await sandbox.exec("cat /proc/net/dev | wc -l")).stdout.text == "3\n"  # two of heading, and loopback
    assert Limits().network is Network.NONE
    with pytest.raises(ConfigError, match="reach all or nothing"):
        await sandboxes.create(Limits(network=Network.LISTED, reachable=("pypi.org",)))


async def test_sixty_four_executions_run_side_by_side(sandboxes: DockerSandboxes) -> None:
    async with sandboxes.sandbox(Limits(pids=200)) as sandbox:
        found = await asyncio.gather(*(sandbox.exec(f"sleep 0.2; echo {number}") for number in range(64)))
    assert [result.stdout.text for result in found] == [f"{number}\n" for number in range(64)]


async def test_gvisor_is_another_kernel(engine: DockerEngine, limits: Limits) -> None:
    if not engine.gvisor:
        pytest.skip("this engine has no runtime runsc")
    with pytest.raises(ConfigError, match=r"process limit .*cpu limit .*without=\[Promise.PIDS, Promise.CPU\]"):
        async with DockerSandboxes(runtime="runsc", url=engine.url):
            pass
    without = [Promise.PIDS, Promise.CPU]
    gvisor = DockerSandboxes(runtime="runsc", without=without, warm=0, limits=limits, url=engine.url)
    async with gvisor, gvisor.sandbox() as sandbox:
        assert (await sandbox.run_python("print(6 * 7)")).stdout.text == "42\n"
        assert "gVisor" in (await sandbox.exec("cat /proc/version; dmesg")).stdout.text
        assert (await sandbox.exec("sleep 60", wall_seconds=0.5)).cause is Cause.WALL
        await sandbox.write("kept", b"1")
        assert await sandbox.read("kept") == b"1"


def test_the_command_line_knows_the_backend(engine: DockerEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert os.environ["DOCKER_HOST"] == engine.url
    assert run(["sandbox", "probe", "docker"]) == 0
    assert "container" in capsys.readouterr().err
    assert isinstance(make_backend("docker", warm=0), DockerSandboxes)
