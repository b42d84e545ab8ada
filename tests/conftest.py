"""What every test may rely on: a component that is missing is a loud skip at home and a failure in CI."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

# Several processes of torch, each with a thread for every core, wait for each other more than they compute.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A deadline per example measures the machine, not the code. In CI the same examples are tried every time.
hypothesis.settings.register_profile("agentenv", deadline=None, derandomize=os.environ.get("CI") == "true")
hypothesis.settings.load_profile("agentenv")

pytest.register_assert_rewrite("tests.support.sandbox_contract")
pytest_plugins = [
    "tests.support.real_vllm",
    "tests.support.docker_engine",
    "tests.support.chromium",
]

SHARED = Path(__file__).parents[2] / "shared"
"""Benchmark data kept beside the repository; never copied into it."""


def require(present: bool, what: str) -> None:
    """Skips the test where `what` is missing, or fails it when `CI=true`."""
    if present:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have {what}", pytrace=False)
    pytest.skip(f"MISSING: {what}")


@pytest.fixture
def gsm8k_folder() -> Path:
    folder = SHARED / "data" / "gsm8k"
    require(folder.is_dir(), f"GSM8K at {folder}")
    return folder
