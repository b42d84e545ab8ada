"""The tests here play in real sandboxes."""

from __future__ import annotations

from tests.support.local_sandboxes import host

__all__ = ["host"]
