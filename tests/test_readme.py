"""Every command and every code block of the README is executed, in order, in one empty folder.

Blocks of Python, TOML and the like start with a comment that names their file; `console` blocks are run by bash. A
command that ends in `&` is a server: it is left running until the end. Each block has the rest of the page's state,
as it has for a reader.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"^# (\S+\.\w+)\n")
RUN_ELSEWHERE = {
    "make test": "this very run",
    "make check": "run by .ci/run before the tests",
    "make bench": "runs for half an hour and installs the peers; its parts are tested in tests/benchmarks",
}


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    line: int


def blocks() -> list[Block]:
    readme = (ROOT / "README.md").read_text()
    return [Block(found[1], found[2], readme[: found.start()].count("\n") + 1) for found in FENCE.finditer(readme)]


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Path]:
    """An empty folder of somebody who cloned the repository beside it; servers started in it are stopped."""
    yield tmp_path
    for pid_file in tmp_path.glob("*.pid"):
        os.killpg(int(pid_file.read_text()), signal.SIGTERM)
        pid_file.unlink()


def test_every_block_is_of_a_kind_that_can_be_executed() -> None:
    assert blocks()
    for block in blocks():
        if block.language not in ("console", "mermaid", "text"):
            assert FILE_NAME.match(block.text), f"README.md:{block.line}: name the file in a comment on the first line"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_readme_works_from_top_to_bottom(reader: Path) -> None:
    for block in blocks():
        if block.language == "console":
            for number, command in enumerate(commands(block.text)):
                run(command, reader, f"README.md:{block.line} command {number + 1}")
        elif name := FILE_NAME.match(block.text):
            path = reader / name[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)


def commands(text: str) -> Iterator[str]:
    """The commands of a console block: the lines after `$ `, continued over `\\`; output is for the reader."""
    for found in re.finditer(r"^\$ ((?:.*\\\n)*.*)$", text, re.MULTILINE):
        yield re.sub(r"\s+# .*$", "", found[1])


def run(command: str, folder: Path, where: str) -> None:
    if command in RUN_ELSEWHERE:
        return
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    at_root = command.startswith(("make ", "pip install"))
    if command.startswith("pip install"):
        command += " --dry-run --no-deps --quiet"
    if command.startswith("make demo"):
        command += ' ARGS="--quick --out $PWD/../demo"' if at_root else ""
    if command.endswith("&"):
        command = f"setsid {command} echo $! > server.pid"
    result = subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT if at_root else folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, f"{where}: $ {command}\n{result.stdout[-4000:]}"


def test_bash_is_there_to_run_the_commands() -> None:
    assert shutil.which("bash")
