"""Nobody is paid without an answer, and what can be noticed is noticed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from agentenv.sandbox import SandboxBackend
from agentenv_code.grading.attacks import ATTACKS, HONEST, Attack
from agentenv_code.grading.trial import GRADERS, LIMITS, attempt
from agentenv_local import LocalSandboxes

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend() -> AsyncIterator[SandboxBackend]:
    async with LocalSandboxes(limits=LIMITS) as made:
        yield made


async def test_the_honest_program_is_paid_by_every_grader(backend: SandboxBackend) -> None:
    outcome = await attempt(backend, Attack("honest", HONEST), call_seconds=4.0)
    assert {name: verdict.solved for name, verdict in outcome.verdicts.items()} == dict.fromkeys(GRADERS, True)
    assert outcome.labels == []


@pytest.mark.parametrize("one", ATTACKS, ids=lambda one: one.name)
async def test_an_attack_is_paid_nothing(backend: SandboxBackend, one: Attack) -> None:
    outcome = await attempt(backend, one)
    assert [verdict.fraction for verdict in outcome.verdicts.values()] == [0.0] * len(GRADERS)
    assert outcome.withstood, f"{outcome.labels} and not {one.label}"
