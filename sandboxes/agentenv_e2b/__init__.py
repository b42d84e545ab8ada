"""Sandboxes of any service that speaks E2B's API: `E2BSandboxes`."""

from __future__ import annotations
