"""A part whose packages are not installed names the line that installs them, whatever command meets it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.support import TIMEOUT, environment

WITHOUT = """
import sys
from importlib.machinery import PathFinder

absent, find = sys.argv.pop(1).split(","), PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name.partition(".")[0] in absent else find(name, *rest)
from agentenv.cli import main

main()
"""
TRAINING = 'environment = "calculator-v0"\npolicy = "tiny:start"\niterations = 1\n'


@pytest.mark.parametrize(
    ("absent", "arguments", "extra"),
    [
        ("math_verify", "eval math/gsm8k-v0 --policy noop", "math"),
        ("math_verify", "check math/arithmetic-v0", "math"),
        ("reasoning_gym", "eval reasoning_gym/chain_sum-v0 --policy oracle", "reasoning-gym"),
        ("gymnasium", "eval gym/frozen_lake-v0 --policy oracle", "gym"),
        ("torch", "eval calculator-v0 --policy tiny:start", "train"),
        ("torch,transformers", "train calculator.toml", "train"),
        ("transformers", "train calculator.toml --policy_options.create true", "train"),
    ],
)
def test_a_missing_package_is_one_line_with_what_to_install(
    tmp_path: Path, absent: str, arguments: str, extra: str
) -> None:
    (tmp_path / "calculator.toml").write_text(TRAINING)
    program = [sys.executable, "-c", WITHOUT, absent, *arguments.split()]
    ended = subprocess.run(program, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=TIMEOUT)
    assert ended.returncode == 1, ended.stdout
    assert f"pip install 'agentenv-rl[{extra}]'" in ended.stderr
    assert "Traceback" not in ended.stderr
