"""The same graders on containers: nothing of them knows which backend it is on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from agentenv.sandbox import SandboxBackend
from agentenv_code.grading.attacks import ATTACKS, HONEST, Attack
from agentenv_code.grading.trial import GRADERS, LIMITS, attempt
from agentenv_code.grading.verdict import Tampering
from agentenv_code.synthesis.humaneval import load_humaneval
from agentenv_code.synthesis.soundness import judge_all
from agentenv_docker import DockerSandboxes
from tests.support.docker_engine import DockerEngine

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("docker")]
TRIED = (
    Tampering.ENDED,
    Tampering.FORGED,
    Tampering.PATCHED,
    Tampering.PEEKED,
    Tampering.DISGUISED,
)
EVERY = 28


@pytest.fixture(scope="session")
def engine(running_docker: DockerEngine) -> DockerEngine:
    return running_docker


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend(engine: DockerEngine) -> AsyncIterator[SandboxBackend]:
    async with DockerSandboxes(limits=LIMITS, url=engine.url) as made:
        yield made


async def test_the_honest_program_is_paid_by_every_grader(backend: SandboxBackend) -> None:
    outcome = await attempt(backend, Attack("honest", HONEST), call_seconds=5.0)
    assert {name: verdict.solved for name, verdict in outcome.verdicts.items()} == dict.fromkeys(GRADERS, True)


@pytest.mark.parametrize("label", TRIED)
async def test_attacks_are_noticed_and_paid_nothing(backend: SandboxBackend, label: Tampering) -> None:
    one = next(one for one in ATTACKS if one.label is label)
    outcome = await attempt(backend, one, call_seconds=5.0)
    assert outcome.withstood, outcome


async def test_solutions_of_humaneval_pass_and_stubs_fail(backend: SandboxBackend) -> None:
    """A sample; `python -m agentenv_code humaneval --sandbox docker` takes all."""
    judged = await judge_all(backend, list(load_humaneval(None, "test"))[::EVERY])
    assert [one for one in judged if not one.sound] == []
