"""Containers keep the contract of every sandbox."""

from __future__ import annotations

import pytest

from tests.support.sandbox_contract import *  # noqa: F403 - the tests of every backend

pytestmark = pytest.mark.xdist_group("docker")
