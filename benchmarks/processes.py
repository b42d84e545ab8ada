"""The processes of a benchmark: the mock server, and a runner in its own virtual environment."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.result import ROOT

PEERS = ROOT / ".bench"
"""Virtual environments of the peers; not under version control."""


@contextmanager
def mock_server(script: str, latency: str = "0.02") -> Iterator[str]:
    """A mock OpenAI server in a process of its own; gives its base URL.

    Args:
        script: ``module:function`` of the request.
        latency: seconds, or ``LOW-HIGH`` for a uniform one.
    """
    command = [sys.executable, "-m", "tests.support.mock_openai", "--script", script, "--latency", latency]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["base_url"]
    finally:
        process.terminate()
        process.wait(timeout=30)


def run_module(module: str, arguments: Sequence[str], python: str | Path = sys.executable, timeout: float = 600) -> str:
    """Run ``python -m module arguments`` from the root of the repository; its standard output.

    Raises:
        RuntimeError: it failed; the message ends with what it last said.
    """
    command = [str(python), "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{module} failed with exit code {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout
