from __future__ import annotations

import asyncio

import pytest

from agentenv.errors import EnvironmentFailure, ModelError, SandboxError, VerifierError
from agentenv.outcome import Boundary, Failure, Status, boundary, classify


@pytest.mark.parametrize(
    ("side", "status"),
    [
        (Boundary.ENVIRONMENT, Status.ENV_ERROR),
        (Boundary.MODEL, Status.MODEL_ERROR),
        (Boundary.TOOL, Status.ENV_ERROR),
        (Boundary.SANDBOX, Status.SANDBOX_ERROR),
        (Boundary.VERIFIER, Status.VERIFIER_ERROR),
        (Boundary.TIMEOUT, Status.TIMEOUT),
    ],
)
def test_whatever_escapes_a_block_is_blamed_on_its_side(side: Boundary, status: Status) -> None:
    with pytest.raises(Exception, match=r"env\.step raised ZeroDivisionError") as raised, boundary(side, "env.step"):
        _ = 1 / 0
    failure = classify(raised.value, "env.step")
    message = "env.step raised ZeroDivisionError: division by zero"
    assert failure == Failure(side, "ZeroDivisionError", message, "env.step")
    assert failure.status is status
    assert not status.scored


def test_an_error_that_names_its_boundary_keeps_it() -> None:
    with pytest.raises(SandboxError), boundary(Boundary.ENVIRONMENT, "env.step"):
        raise SandboxError("container is gone")
    assert classify(ModelError("down"), "policy").boundary is Boundary.MODEL


def test_a_timeout_is_blamed_on_the_clock() -> None:
    with pytest.raises(Exception, match=r"env\.step timed out") as raised, boundary(Boundary.VERIFIER, "env.step"):
        raise TimeoutError
    assert classify(raised.value, "env.step").status is Status.TIMEOUT


def test_cancellation_passes_through_untouched() -> None:
    with pytest.raises(asyncio.CancelledError), boundary(Boundary.ENVIRONMENT, "env.step"):
        raise asyncio.CancelledError


def test_an_error_of_nobody_is_the_environments() -> None:
    assert classify(KeyError("x"), "env.reset").boundary is Boundary.ENVIRONMENT
    assert classify(EnvironmentFailure("bad"), "env.reset").status is Status.ENV_ERROR
    assert classify(VerifierError("bad"), "env.step").status is Status.VERIFIER_ERROR


def test_only_finished_episodes_are_scored() -> None:
    assert {status for status in Status if status.scored} == {Status.OK, Status.TRUNCATED}
