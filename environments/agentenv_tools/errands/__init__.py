"""The environments: each draws tasks in one world, or in several."""

from __future__ import annotations
