from __future__ import annotations

import subprocess
import sys

import pytest

import agentenv

HEAVY = {"torch", "transformers", "vllm", "ray", "docker", "mcp"}


@pytest.mark.parametrize(
    "statement",
    [
        "import agentenv; [getattr(agentenv, name) for name in agentenv.__all__]",
        "import agentenv.rollout, agentenv.trajectory, agentenv.learn, agentenv.evaluate, agentenv.check, agentenv.cli",
        "import agentenv.registry as r; r.list_environments()",
    ],
)
def test_the_core_and_the_list_of_environments_load_nothing_heavy(statement: str) -> None:
    program = f"{statement}\nimport sys; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert not HEAVY & set(result.stdout.split())


def test_the_list_of_public_names_is_the_one_that_is_loaded_on_demand() -> None:
    assert sorted(agentenv.__all__) == sorted(["__version__", *agentenv._HOME_OF])


def test_every_public_name_exists_and_an_unknown_one_does_not() -> None:
    assert all(getattr(agentenv, name) is not None for name in agentenv.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Envv'"):
        _ = agentenv.Envv  # type: ignore[attr-defined]
