"""Runs the real `agentenv` program in a folder of its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from agentenv.cli import run

TIMEOUT = 120


@dataclass(frozen=True, slots=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must be one JSON document and nothing else."""
        return json.loads(self.out)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from agentenv.cli import main; main()", *arguments]


def environment() -> dict[str, str]:
    """Plain output of a known width; otherwise as here."""
    repository = str(Path(__file__).parents[2])
    return os.environ | {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb", "PYTHONPATH": repository}


def agentenv(*arguments: str, folder: Path | None = None, typed: str = "") -> Result:
    """One run of the program, to its end."""
    ended = subprocess.run(
        command(*arguments), cwd=folder, env=environment(), input=typed, capture_output=True, text=True, timeout=TIMEOUT
    )
    return Result(ended.returncode, ended.stdout, ended.stderr)


def here(*arguments: str, folder: Path | None = None) -> Result:
    """The same without a process of its own: quicker, for what needs none."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        contextlib.chdir(folder or Path()),
        mock.patch.dict(os.environ, environment()),
    ):
        code = run(arguments)
    return Result(code, out.getvalue(), err.getvalue())
