"""Sandboxes behind the service keep the contract of every sandbox, and their sessions that of every session."""

from __future__ import annotations

from tests.sandbox.test_sessions import *  # noqa: F403 - the tests of every session
from tests.support.sandbox_contract import *  # noqa: F403 - the tests of every backend
