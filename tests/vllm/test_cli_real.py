"""The program with a vLLM server of its own: evaluated, trained, interrupted and killed. Each start is a real one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from agentenv_tiny import create_policy
from agentenv_vllm.interpreter import VARIABLE, find_interpreter
from tests.cli.support import command, environment
from tests.support.real_vllm import require_vllm
from tests.vllm.support import alive, descendants, until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("vllm")]

CONFIG = """
environment = "calculator-v0"
environment_kwargs = { level = [1, 1], operand_max = 20 }
policy = "vllm:{run}/start"
policy_options = { create = true, threads = 1, start_timeout = 280 }
iterations = 2
tasks_per_iteration = 4
siblings = 4
max_tokens = 16

[evaluation]
split = "dev"
every = 2
tasks = 8
"""


@pytest.fixture(scope="module", autouse=True)
def _vllm_is_there() -> None:
    require_vllm()


@pytest.fixture
def python(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter as found from here, for programs that run in a folder of their own."""
    found = asyncio.run(find_interpreter())
    monkeypatch.setenv(VARIABLE, str(found.python.absolute()))


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    with (folder / "output").open("wb") as output:
        return subprocess.Popen(
            command(*arguments),
            cwd=folder,
            stdout=output,
            stderr=output,
            env=environment(),
            start_new_session=True,
            preexec_fn=heed_interrupts,
        )


def heed_interrupts() -> None:
    """A shell starts what runs in its background deaf to Ctrl-C, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.usefixtures("python")
@pytest.mark.timeout(600)
async def test_training_with_a_server_of_its_own_ends_with_metrics_a_model_and_no_process(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(CONFIG)
    program = start(tmp_path, "train", "small.toml")
    log = tmp_path / "runs" / "train-small" / "vllm"
    await until(lambda: log.is_dir(), "the log is in the run folder", seconds=60)
    everything: set[int] = set()
    while program.poll() is None:
        everything.update(descendants(program.pid))
        await asyncio.sleep(0.2)
    assert program.returncode == 0, (tmp_path / "output").read_text()
    assert len(everything) >= 4  # the supervisor, the API server, the engine and its worker
    assert not any(map(alive, everything))
    lines = [json.loads(line) for line in (tmp_path / "runs/train-small/metrics.jsonl").read_text().splitlines()]
    iterations = [line for line in lines if line["kind"] == "iteration"]
    assert [line["iteration"] for line in iterations] == [1, 2]
    assert all(line["staleness_mean"] == 0 for line in iterations), "every token is of the weights of its iteration"
    [told] = log.iterdir()
    assert "Application startup complete" in told.read_text()


@pytest.mark.usefixtures("python")
@pytest.mark.parametrize(
    ("number", "process", "code"),
    [
        (signal.SIGINT, b"vllm.entrypoints.openai.api_server", 130),
        (signal.SIGKILL, b"VLLM::EngineCore", -signal.SIGKILL),
    ],
)
async def test_the_program_ended_while_its_server_starts_leaves_no_process(
    tmp_path: Path, number: signal.Signals, process: bytes, code: int
) -> None:
    create_policy(tmp_path / "model")
    program = start(tmp_path, "eval", "calculator-v0", "--policy", "vllm:model", "-n", "4")
    output = tmp_path / "output"
    await until(lambda: "starting vLLM" in output.read_text(), "the start is shown", seconds=60)
    await until(lambda: process in titles(program.pid), f"{process!r} is started", seconds=120)
    everything = descendants(program.pid)
    program.send_signal(number)
    assert await asyncio.to_thread(program.wait, 60) == code
    assert ("interrupted; no episode had begun" in output.read_text()) is (number is signal.SIGINT)
    await until(lambda: not any(map(alive, everything)), "all processes end", seconds=60)


@pytest.mark.usefixtures("python")
async def test_the_head_of_the_server_killed_while_it_starts_is_an_error_and_leaves_no_engine(tmp_path: Path) -> None:
    create_policy(tmp_path / "model")
    program = start(tmp_path, "eval", "calculator-v0", "--policy", "vllm:model", "-n", "4")
    await until(lambda: b"VLLM::EngineCore" in titles(program.pid), "the engine is started", seconds=120)
    everything = descendants(program.pid)
    [head] = [pid for pid in everything if b"vllm.entrypoints.openai.api_server" in title(pid) and is_head(pid)]
    os.kill(head, signal.SIGKILL)
    assert await asyncio.to_thread(program.wait, 60) == 1
    assert "ended while it started (exit code 137)" in (tmp_path / "output").read_text()
    assert not any(map(alive, everything))


def is_head(pid: int) -> bool:
    """Whether it leads its session and has children: the server's first process, not its supervisor."""
    return os.getsid(pid) == pid and b"supervisor.py" not in title(pid)


def titles(pid: int) -> bytes:
    return b"\n".join(map(title, descendants(pid)))


def title(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
