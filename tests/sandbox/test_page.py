"""What docs/sandboxes.md shows is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from agentenv.sandbox.attacks import ATTACKS

PAGE = (Path(__file__).parents[2] / "docs" / "sandboxes.md").read_text()


def test_the_programs_of_the_page_run() -> None:
    programs = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert programs
    for program in programs:
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize("marker", ["attacks", "attacks-restricted", "attacks-docker", "attacks-gvisor"])
def test_the_tables_of_attacks_are_those_of_the_program(marker: str) -> None:
    """gVisor's says what gets out of it; in all others nothing does that was promised not to."""
    table = PAGE.partition(f"<!-- {marker}:begin -->")[2].partition(f"<!-- {marker}:end -->")[0]
    rows = re.findall(r"^\| ([^|]+) \| (yes|not promised|\*\*NO\*\*) \| .+ \|$", table, re.MULTILINE)
    assert [name for name, _ in rows] == [one.name for one in ATTACKS]
    assert all(contained != "**NO**" for _, contained in rows) is (marker != "attacks-gvisor")
