from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import SHARED, require
from tests.tau2.shop import write_domain


@pytest.fixture
def tau2_data() -> str:
    """The benchmark's own files."""
    folder = SHARED / "data" / "tau2"
    require(folder.is_dir(), f"tau2-bench at {folder}")
    return str(folder)


@pytest.fixture
def small(tmp_path: Path) -> str:
    """The shop by hand, with one task."""
    return str(write_domain(tmp_path / "tau2"))
