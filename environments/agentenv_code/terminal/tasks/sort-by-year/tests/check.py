"""Compares the whole tree below notes/ with where each note belongs; the notes as they were lie beside the tests."""

import sys
from pathlib import Path

expected = {}
for note in (Path(__file__).parent / "notes").iterdir():
    header = note.read_text().split("\n\n")[0].splitlines()
    dates = [line.removeprefix("date: ") for line in header if line.startswith("date: ")]
    folder = dates[0][:4] if dates else "undated"
    expected[f"{folder}/{note.name}"] = note.read_bytes()
root = Path("notes")
try:
    found = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if not path.is_dir()}
except OSError as error:
    sys.exit(f"notes: {error}")
sys.exit(None if found == expected else "the notes are not where they belong")
