"""Counts again from the log as it was, which lies beside the tests, and compares."""

import sys
from collections import Counter
from pathlib import Path

log = (Path(__file__).parent / "service.txt").read_text().splitlines()
counts = Counter(line.split()[2].strip("[]") for line in log if line.split()[1] == "ERROR")
expected = ["service,errors"] + [
    f"{name},{count}" for name, count in sorted(counts.items(), key=lambda x: (-x[1], x[0]))
]
try:
    found = Path("errors.csv").read_text().split("\n")
except (OSError, UnicodeDecodeError) as error:
    sys.exit(f"errors.csv: {error}")
while found and not found[-1]:
    found.pop()
sys.exit(None if [line.rstrip("\r") for line in found] == expected else "errors.csv is not what the log says")
