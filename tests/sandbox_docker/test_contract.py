"""Containers keep the contract of every sandbox."""

from __future__ import annotations

from tests.support.sandbox_contract import *  # noqa: F403 - the tests of every backend
