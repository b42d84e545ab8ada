"""The bugs we ship, in SWE-bench's shape, and folders that break it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import agentenv
from agentenv.errors import ConfigError, MissingDataError
from agentenv.sandbox import Isolation
from agentenv.tasks import Task
from agentenv_code.repair.changes import unified_diff
from agentenv_code.repair.env import OWN_INSTANCES, Repair
from agentenv_code.repair.instances import Instance, read_instances
from tests.environments.playing import play, play_oracle

INSTANCES = read_instances(OWN_INSTANCES)


@pytest.mark.parametrize("split", ["train", "test"])
async def test_the_gold_patch_resolves_an_instance_and_doing_nothing_does_not(split: str) -> None:
    env = agentenv.make("code/repair-v0")
    for task in env.tasks(split):
        solved = await play_oracle(env, task)
        assert solved.total == 1.0, task.id
        assert solved.last.info["patch"] == INSTANCES[task.id].patch
        assert solved.last.info["isolation"] is Isolation.NAMESPACES
        untouched = await play(env, ["DONE"], task)
        metrics = untouched.last.info["metrics"]
        assert untouched.total == 0.0, task.id
        assert (metrics["fail_to_pass"], metrics["pass_to_pass"], metrics["tampering"]) == (0.0, 1.0, False), task.id
    await env.close()


@pytest.mark.parametrize("name", sorted(INSTANCES))
def test_the_patches_are_those_that_patch_applies(name: str, tmp_path: Path) -> None:
    instance = INSTANCES[name]
    shutil.copytree(OWN_INSTANCES / name / "repository", tmp_path / "repository")
    for patch in (instance.patch, instance.test_patch):
        command = ["patch", "-p1", "--quiet"]
        subprocess.run(command, input=patch.encode(), cwd=tmp_path / "repository", check=True, timeout=20)
    for path, data in {**instance.snapshot, **instance.gold, **instance.tests}.items():
        assert (tmp_path / "repository" / path).read_bytes() == data


def test_a_diff_says_where_a_last_line_has_no_end_and_what_is_new_or_gone() -> None:
    assert unified_diff({"a": b"one\n", "b": b"x"}, {"a": b"two", "c": b"\n"}) == (
        "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-one\n+two\n\\ No newline at end of file\n"
        "diff --git a/b b/b\n--- a/b\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n\\ No newline at end of file\n"
        "diff --git a/c b/c\n--- /dev/null\n+++ b/c\n@@ -0,0 +1 @@\n+\n"
    )


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: (path / "instance.toml").unlink(), r"cannot be read.*an instance is a folder with"),
        (lambda path: shutil.rmtree(path / "gold"), r"no files in repository/, gold/ or tests/"),
        (lambda path: (path / "instance.toml").write_text("repo = 'x'\nPASS_TO_PASS = []"), "FAIL_TO_PASS: Field req"),
        (lambda path: (path / "instance.toml").write_text("repo = 1"), "instance.toml: repo: Input should be a valid"),
    ],
)
def test_a_folder_that_breaks_the_shape_is_told_what_is_wrong(
    tmp_path: Path, damage: Callable[[Path], object], said: str
) -> None:
    folder = tmp_path / "duration-carry"
    shutil.copytree(OWN_INSTANCES / "duration-carry", folder)
    damage(folder)
    with pytest.raises(ConfigError, match=said):
        Instance.read(folder)


def test_a_test_without_a_file_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "duration-carry"
    shutil.copytree(OWN_INSTANCES / "duration-carry", folder)
    file = folder / "instance.toml"
    file.write_text(file.read_text().replace("tests.test_text.ParseTest", "tests.test_other.ParseTest"))
    with pytest.raises(ConfigError, match=r"no test file for tests\.test_other\.ParseTest"):
        Instance.read(folder)


def test_a_folder_without_instances_says_what_one_is(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="there are no instances in"):
        Repair(tasks_path=str(tmp_path)).tasks("train")


async def test_a_task_of_another_state_of_the_repository_is_refused() -> None:
    task = INSTANCES["interval-merge"].task()
    assert Task.from_json(task.to_json()) == task
    stale = Task(task.id, task.prompt, data={**task.data, "base_commit": "0" * 40})
    env = Repair()
    with pytest.raises(ConfigError, match="another than when this task was made"):
        await env.reset(task=stale)
    await env.close()
