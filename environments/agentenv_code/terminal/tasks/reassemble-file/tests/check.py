"""Compares the digest of what was recovered with that of the whole."""

import hashlib
import sys
from pathlib import Path

expected = (Path(__file__).parent / "digest.txt").read_text().strip()
try:
    found = hashlib.sha256(Path("recovered.txt").read_bytes()).hexdigest()
except OSError as error:
    sys.exit(f"recovered.txt: {error}")
sys.exit(None if found == expected else "recovered.txt is not the file that was cut up")
