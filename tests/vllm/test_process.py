"""A managed server leaves no process behind, however it or its owner ends; with a stub in place of vLLM."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from agentenv.errors import ConfigError
from agentenv_vllm.errors import ServerStartError
from agentenv_vllm.options import ServerOptions
from agentenv_vllm.process import ManagedServer
from tests.vllm.support import HEALTHY, WITH_ENGINES, model_folder, processes_with, stub_python, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


class Seen:
    """Progress that is kept."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.ended = 0

    def show(self, words: str) -> None:
        self.words.append(words)

    def end(self) -> None:
        self.ended += 1


def make_server(
    folder: Path, script: str = HEALTHY, *, start_timeout: float = 30.0, grace: float = 1.0, port: int = 0,
    progress: Seen | None = None,
) -> ManagedServer:  # fmt: skip
    """Its processes can be told by `folder`, which is in the environment of each."""
    return ManagedServer(
        model_folder(folder / "model"),
        ServerOptions(port=port, env={"MARKED_BY": str(folder)}),
        log=folder / "logs" / "server.log",
        python=stub_python(folder, script),
        start_timeout=start_timeout,
        grace=grace,
        progress=progress,
    )


async def test_it_serves_while_it_is_open_and_is_gone_afterwards(tmp_path: Path) -> None:
    async with make_server(tmp_path, WITH_ENGINES + HEALTHY) as server:
        assert server.running
        assert len(processes_with(str(tmp_path))) >= 4  # the supervisor, the server and its two children
    assert processes_with(str(tmp_path)) == []
    assert not server.running


async def test_its_output_is_kept_after_the_command_that_started_it(tmp_path: Path) -> None:
    async with make_server(tmp_path) as server:
        pass
    command, *output = server.log.read_text().splitlines()
    assert "--logprobs-mode processed_logprobs" in command
    assert "Loading weights" in "\n".join(output)


async def test_the_head_killed_by_sigkill_takes_its_orphans_along_and_is_noticed(tmp_path: Path) -> None:
    async with make_server(tmp_path, WITH_ENGINES + HEALTHY) as server:
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        async with asyncio.timeout(20):
            assert await server.ended() == 128 + signal.SIGKILL
        assert processes_with(str(tmp_path)) == []


async def test_a_supervisor_killed_by_sigkill_ends_the_server(tmp_path: Path) -> None:
    async with make_server(tmp_path) as server:
        supervisors = [pid for pid in processes_with(str(tmp_path)) if pid != server.pid]
        for pid in supervisors:
            os.kill(pid, signal.SIGKILL)
        await until(lambda: processes_with(str(tmp_path)) == [], "the server ends")
        await server.ended()


OWNER = """
import asyncio, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell takes from what runs in its background
from pathlib import Path
from agentenv_vllm.options import ServerOptions
from agentenv_vllm.process import ManagedServer
folder = Path(sys.argv[1])
async def main():
    options = ServerOptions(env={"MARKED_BY": str(folder)})
    async with ManagedServer(folder / "model", options, log=folder / "log", python=folder / "python", grace=1.0):
        print("ready", flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
async def test_an_owner_that_is_killed_or_interrupted_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    model_folder(tmp_path / "model")
    stub_python(tmp_path, WITH_ENGINES + HEALTHY)
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, str(tmp_path), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert owner.stdout is not None
    async with asyncio.timeout(60):
        assert await owner.stdout.readline() == b"ready\n"
    owner.send_signal(number)
    async with asyncio.timeout(30):
        await owner.wait()
    await until(lambda: processes_with(str(tmp_path)) == [], "all processes end")


async def test_one_that_ends_while_it_starts_is_an_error_with_the_cause_and_the_end_of_its_log(tmp_path: Path) -> None:
    script = "print('INFO 01-01 00:00:00 [x.py:1] Reading'); sys.exit('ValueError: no such quantization: int3')"
    with pytest.raises(ServerStartError, match=r"exit code 1\): ValueError: no such quantization: int3\.") as caught:
        await make_server(tmp_path, script).start()
    assert "Reading" in str(caught.value)
    assert str(tmp_path / "logs" / "server.log") in str(caught.value)


@pytest.mark.parametrize(
    ("told", "advice"),
    [
        ("No module named vllm", "this Python has no vllm"),
        ("error: unrecognized arguments: --enable-scale-out", "does not know a flag"),
        ("ValueError: No available memory for the cache blocks.", "raise kv_cache_memory_bytes"),
        ("OSError: [Errno 98] Address already in use", "name another by the option port"),
    ],
)
async def test_what_the_log_says_becomes_advice(tmp_path: Path, told: str, advice: str) -> None:
    with pytest.raises(ServerStartError, match=advice):
        await make_server(tmp_path, f"sys.exit({told!r})").start()


async def test_one_that_is_not_ready_in_time_is_ended(tmp_path: Path) -> None:
    with pytest.raises(ServerStartError, match=r"not ready after 0\.5 s"):
        await make_server(tmp_path, "import time; time.sleep(600)", start_timeout=0.5).start()
    assert processes_with(str(tmp_path)) == []


async def test_cancelling_the_start_ends_it(tmp_path: Path) -> None:
    server = make_server(tmp_path, "import time; time.sleep(600)")
    start = asyncio.create_task(server.start())
    await until(lambda: server.pid is not None, "the server is started")
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert processes_with(str(tmp_path)) == []


async def test_a_taken_port_is_a_mistake_that_is_told_before_anything_is_started(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match=r"cannot listen at .* leave the option port away"):
            await make_server(tmp_path, port=taken.getsockname()[1]).start()


def test_a_folder_without_a_model_is_a_mistake_that_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no config\.json"):
        ManagedServer(tmp_path / "nothing", log=tmp_path / "log")


async def test_the_start_tells_its_progress_until_it_is_over(tmp_path: Path) -> None:
    seen = Seen()
    slow = HEALTHY.replace("server =", "print('INFO 01-01 00:00:00 [x.py:1] Reading', flush=True)\nserver =")
    waits = slow.replace("server =", "import time; time.sleep(1.0)\nserver =")
    async with make_server(tmp_path, waits, progress=seen):
        assert seen.ended == 1
    assert "starting vLLM 0.0-stub" in seen.words[0]
    assert seen.words[-1].endswith(": Reading")
