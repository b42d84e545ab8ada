"""The model that samples in these tests."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained policy: its text is noise, its tokens are real."""
    from agentenv_tiny import TinyConfig, create_policy

    config = TinyConfig(layers=2, hidden=32, heads=2, intermediate=48, context=512, seed=3)
    create_policy(path := tmp_path_factory.mktemp("policy") / "tiny", config)
    return path
