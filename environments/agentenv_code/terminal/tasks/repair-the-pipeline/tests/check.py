"""Reads what the script printed for three inputs. It ran elsewhere: nothing of it is here."""

import sys
from pathlib import Path

EXPECTED = {
    "given.out": "apples,480\nbread,2100\ngreen tea,900\ntotal,3480\n",
    "other.out": "a*b,-10\nfig jam,310\ntotal,7\ntotal,307\n",
    "none.out": "total,0\n",
}
for name, expected in EXPECTED.items():
    try:
        found = Path(name).read_text()
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(f"{name}: {error}")
    if found != expected:
        sys.exit(f"{name} is wrong")
