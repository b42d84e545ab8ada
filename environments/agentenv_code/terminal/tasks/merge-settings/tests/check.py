"""Compares settings.json with what the layers come to, types included."""

import json
import sys
from pathlib import Path

EXPECTED = {
    "server": {"host": "eu.example.org", "port": 8443, "debug": False},
    "storage": {"path": "/var/lib/app", "quota_gb": 200, "ratio": 0.75},
    "limits": {"rate": 1.5, "burst": 10},
}
try:
    found = json.loads(Path("settings.json").read_text())
except (OSError, ValueError, RecursionError) as error:
    sys.exit(f"settings.json: {error}")
same = json.dumps(found, sort_keys=True) == json.dumps(EXPECTED, sort_keys=True)
sys.exit(None if same else "settings.json is not what the layers come to")
