"""scripts/make-vllm says clearly where it cannot work."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "make-vllm"


def run(folder: Path, **commands: str) -> subprocess.CompletedProcess[str]:
    """The script with these commands in place of the system's, given as shell text."""
    stubs = folder / "bin"
    stubs.mkdir()
    for name, text in commands.items():
        stub = stubs / name.replace("_", ".")
        stub.write_text(f"#!/bin/sh\n{text}\n")
        stub.chmod(stub.stat().st_mode | stat.S_IXUSR)
    path = f"{stubs}:{os.defpath}"
    return subprocess.run(
        ["sh", str(SCRIPT), str(folder / "vllm")], env={"PATH": path}, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("system", ["Darwin arm64", "Linux aarch64"])
def test_another_system_is_refused_by_name(tmp_path: Path, system: str) -> None:
    result = run(tmp_path, uname=f"echo {system}")
    assert result.returncode == 1
    assert f"for x86-64 Linux, this is {system}" in result.stderr
    assert not (tmp_path / "vllm").exists()


def test_another_python_is_refused(tmp_path: Path) -> None:
    result = run(tmp_path, uname="echo Linux x86_64", python3_11="exit 1", python3="exit 1")
    assert result.returncode == 1
    assert "needs Python 3.11" in result.stderr
    assert not (tmp_path / "vllm").exists()
