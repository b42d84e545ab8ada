"""Every command and every code block of the README is executed, in order, in one empty folder.

Blocks of Python, TOML and the like start with a comment that names their file; the commands of `console` blocks are
run by bash. One that ends in `&` is a server: the next command follows its first line of output, and it is stopped at
the end.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"^# (\S+\.\w+)\n")
COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)$", re.MULTILINE)
PORTS = ("8000", "8600", "8100")
"""Of the README's servers; here each is any free one."""
RUN_ELSEWHERE = {
    "make test": "this very run",
    "make check": "run by .ci/run before the tests",
    "scripts/make-vllm .vllm": "done by make test",
    'make demo ARGS="--policy vllm"': "minutes; a shorter training behind a vLLM is in tests/vllm",
}


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    line: int


def blocks() -> list[Block]:
    readme = (ROOT / "README.md").read_text()
    return [Block(found[1], found[2], readme[: found.start()].count("\n") + 1) for found in FENCE.finditer(readme)]


def commands(text: str) -> list[str]:
    """The commands of a console block: the lines after `$ `, continued over `\\`; the rest is for the reader."""
    return [re.sub(r"\s+# .*$", "", found[1]) for found in COMMAND.finditer(text)]


def test_every_block_is_of_a_kind_that_can_be_executed() -> None:
    assert blocks()
    for block in blocks():
        if block.language not in ("console", "mermaid", "text"):
            assert FILE_NAME.match(block.text), f"README.md:{block.line}: name the file in a comment on the first line"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_readme_works_from_top_to_bottom(tmp_path: Path) -> None:
    ports = {port: free_port() for port in PORTS}
    with ExitStack() as servers:
        for block in blocks():
            text = re.sub("|".join(PORTS), lambda found: ports[found[0]], block.text)
            if name := FILE_NAME.match(text):
                (tmp_path / name[1]).write_text(text)
            elif block.language == "console":
                for number, command in enumerate(commands(text)):
                    run(command, tmp_path, servers, f"README.md:{block.line} command {number + 1}")


def run(command: str, folder: Path, servers: ExitStack, where: str) -> None:
    if command in RUN_ELSEWHERE:
        return
    at_root = command.startswith(("make ", "pip install"))
    process = subprocess.Popen(
        ["bash", "-c", "exec " + in_small(command, folder).removesuffix("&")],
        cwd=ROOT if at_root else folder,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if command.endswith("&"):
        servers.callback(process.wait)
        servers.callback(process.terminate)
        assert process.stdout is not None
        assert process.stdout.readline(), f"{where}: $ {command} ended without a word"
        return
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, f"{where}: $ {command}\n{output[-4000:]}"


def in_small(command: str, folder: Path) -> str:
    """The same program with less work where the README's own would take minutes or change the installation."""
    if command == "make demo":
        # Whether it learns is measured over three seeds by benchmarks/demo.py.
        few = ["--iterations 2", "--warmup.steps 20", "--warmup.demonstrations 100"]
        few += ["--evaluation.tasks 10", "--final_test.tasks 10", f"--out {folder}/demo"]
        return f"make demo ARGS='{' '.join(few)}'"
    if command.startswith("pip install"):
        return f"python -m {command} --dry-run --no-deps --quiet"
    return command


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader's own key must not be sent to the example's server."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
