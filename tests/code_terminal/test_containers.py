"""Tasks in their own images, with Harbor's own paths; and repairs and sessions in containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentenv.errors import ConfigError, SandboxError
from agentenv.sandbox import Isolation
from agentenv_code.python_math.env import PythonMath
from agentenv_code.repair.env import OWN_INSTANCES, Repair
from agentenv_code.repair.instances import read_instances
from agentenv_code.terminal.env import Terminal
from tests.code_repair.test_tampering import MODULE, SEEN, write
from tests.code_terminal.test_shell import bash, said
from tests.environments.playing import play, play_oracle
from tests.support.docker_engine import DockerEngine

pytestmark = pytest.mark.xdist_group("docker")


@pytest.fixture(scope="session")
def engine(running_docker: DockerEngine) -> DockerEngine:
    return running_docker


@pytest.fixture
def task(folder: Path) -> Path:
    """The task as Harbor's authors write one: absolute paths, and what only an image can have."""
    (folder / "task.toml").write_text('schema_version = "1.4"\n[environment.env]\nMODE = "strict"\n')
    (folder / "environment").mkdir()
    (folder / "environment" / "Dockerfile").write_text(
        "FROM agentenv/base\nRUN mkdir -p /app/data && echo 40 >/app/data/start\nWORKDIR /app\n"
    )
    (folder / "tests" / "test.sh").write_text(
        "#!/bin/bash\nset -e\nmkdir -p /logs/verifier\n"
        '[ "$(cat /app/answer.txt)" = 42 ] && [ "$MODE" = strict ] && [ "$PWD" = /app ] && [ -f /tests/test.sh ] '
        "&& echo 1 >/logs/verifier/reward.txt || echo 0 >/logs/verifier/reward.txt\n"
    )
    (folder / "solution" / "solve.sh").write_text("echo $(($(cat data/start) + 2)) >/app/answer.txt\n")
    return folder


async def test_a_task_is_played_in_the_image_its_dockerfile_makes(task: Path, engine: DockerEngine) -> None:
    env = Terminal(tasks_path=str(task), default_split="train", sandbox="docker", sandbox_options={"url": engine.url})
    assert (await play_oracle(env)).total == 1.0
    assert (await play(env, ["DONE"])).total == 0.0
    forged = "mkdir -p /logs/verifier /tests; echo 1 >/logs/verifier/reward.txt; echo 'exit 0' >/tests/test.sh"
    daemon = "setsid bash -c 'while :; do echo 1 >/logs/verifier/reward.txt; done' >/dev/null 2>&1 & disown"
    assert (await play(env, [bash(f"{forged}; {daemon}"), "DONE"])).total == 0.0
    await env.reset(seed=1)
    assert await said(env, "pwd; cat data/start; echo $MODE; ls /tests /solution 2>&1 | head -1; true") == (
        "/app\n40\nstrict\nls: cannot access '/tests': No such file or directory"
    )
    await env.close()


async def test_a_task_that_needs_no_image_is_played_in_one_that_is_named(engine: DockerEngine) -> None:
    options = {"url": engine.url, "image": "agentenv/base", "warm": 0}
    env = Terminal(names=["merge-settings", "repair-the-pipeline"], sandbox="docker", sandbox_options=options)
    assert (await play_oracle(env, env.tasks("train").task(0))).total == 1.0
    assert (await play_oracle(env, env.tasks("test").task(0))).total == 1.0
    await env.close()


async def test_an_image_that_cannot_be_had_is_a_failure_that_says_why(task: Path, engine: DockerEngine) -> None:
    (task / "environment" / "Dockerfile").write_text("FROM agentenv/no-such-image\n")
    env = Terminal(tasks_path=str(task), sandbox="docker", sandbox_options={"url": engine.url})
    with pytest.raises(SandboxError, match="the image of the task answer cannot be built"):
        await env.reset(task=env.tasks("test").task(0))
    await env.close()


def test_a_task_without_an_image_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"neither environment/Dockerfile nor environment\.docker_image"):
        Terminal(tasks_path=str(folder), sandbox="docker").tasks("test")


async def test_a_repair_is_judged_in_a_container_of_its_own(engine: DockerEngine) -> None:
    env = Repair(sandbox="docker", sandbox_options={"url": engine.url, "warm": 0})
    task = read_instances(OWN_INSTANCES)["interval-merge"].task()
    assert (await play_oracle(env, task)).total == 1.0
    attack = bash(write(MODULE, SEEN["an assertion that asserts nothing"]))
    cheated = await play(env, [attack, "DONE"], task)
    assert (cheated.total, cheated.last.info["metrics"]["tampering"]) == (0.0, True)
    assert cheated.last.info["isolation"] is Isolation.CONTAINER
    await env.close()


async def test_a_session_in_a_container_works_a_problem_out(engine: DockerEngine) -> None:
    env = PythonMath(sandbox="docker", sandbox_options={"url": engine.url, "warm": 0})
    assert (await play_oracle(env, env.tasks("train").task(0))).total == 1.0
    await env.close()
