"""Task folders in Harbor's format: what is read, what is refused and how that is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agentenv.errors import ConfigError, MissingDataError
from agentenv_code.terminal.dockerfile import read_dockerfile
from agentenv_code.terminal.env import Terminal
from agentenv_code.terminal.folder import TaskFolder, read_folders
from agentenv_code.terminal.settings import NetworkMode, Settings


def settings(folder: Path, text: str) -> None:
    file = folder / "task.toml"
    file.write_text(f"{text}\n{file.read_text()}" if not text.startswith("[") else f"{file.read_text()}\n{text}\n")


def dockerfile(folder: Path, text: str) -> None:
    (folder / "environment").mkdir(exist_ok=True)
    (folder / "environment" / "Dockerfile").write_text(f"FROM debian\nWORKDIR /app\n{text}\n")


def test_what_is_not_known_is_left_alone_and_older_spellings_are_read(folder: Path) -> None:
    (folder / "task.toml").write_text(
        'version = "1.0"\nartifacts = ["/app/out"]\n[environment]\nmemory = "2G"\nstorage = "512M"\n'
        "allow_internet = false\nfuture = 1\n[agent]\ntimeout_sec = 9\n"
    )
    read = Settings.read(folder / "task.toml")
    assert (read.schema_version, read.agent.timeout_sec, read.verifier.timeout_sec) == ("1.0", 9.0, 600.0)
    assert (read.environment.memory_mb, read.environment.storage_mb) == (2048, 512)
    assert read.environment.network_mode is NetworkMode.NO_NETWORK
    assert [one.source for one in read.artifacts] == ["/app/out"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda task: (task / "tests" / "test.sh").unlink(), r"answer/tests/test\.sh is missing"),
        (lambda task: (task / "instruction.md").write_text(" \n"), r"instruction\.md is empty"),
        (lambda task: (task / "task.toml").write_text("[verifier"), r"task\.toml cannot be read"),
        (lambda task: settings(task, "[agent]\ntimeout_sec = 'long'"), r"task\.toml: agent\.timeout_sec: .*number"),
        (lambda task: settings(task, "[environment]\nmemory_mb = 0"), r"task\.toml: environment\.memory_mb: .*greater"),
        (lambda task: settings(task, "[environment]\nmemory = 'big'"), r"task\.toml: environment: 'big' is no size"),
        (lambda task: settings(task, "version = '2.0'"), r"task\.toml: schema_version"),
        (lambda task: dockerfile(task, "COPY missing.txt ./"), r"Dockerfile:3 copies missing\.txt, which is not there"),
    ],
)
def test_a_folder_that_breaks_the_format_is_told_which_file_and_key(
    folder: Path, damage: Callable[[Path], object], said: str
) -> None:
    if "schema_version" in said:
        (folder / "task.toml").write_text("")
    damage(folder)
    with pytest.raises(ConfigError, match=said):
        TaskFolder.read(folder)


async def test_a_link_among_a_tasks_files_is_refused(folder: Path, env: Terminal) -> None:
    (folder / "solution" / "link").symlink_to("/etc/passwd")
    await env.reset(seed=1)
    with pytest.raises(ConfigError, match="is a link"):
        env.oracle()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda task: dockerfile(task, "RUN apt-get install -y gcc"),
            "environment/Dockerfile:3: RUN needs a container",
        ),
        (lambda task: dockerfile(task, "COPY Dockerfile /etc/"), "/etc/ lies outside of the working folder"),
        (lambda task: dockerfile(task, "ENV A=$HOME"), "only ENV NAME=value"),
        (lambda task: (task / "task.toml").write_text("[agent]\n"), "does not say that it can be played outside"),
        (lambda task: settings(task, "[environment]\nnetwork_mode = 'public'"), "asks for the network; network=True"),
        (lambda task: settings(task, "[environment]\nnetwork_mode = 'allowlist'"), "network_mode is allowlist"),
        (lambda task: settings(task, "[environment]\ngpus = 1"), "gpus"),
        (lambda task: settings(task, "[environment]\nos = 'windows'"), "only linux"),
        (lambda task: settings(task, "[environment.healthcheck]\ncommand = 'true'"), "healthcheck is not supported"),
        (lambda task: settings(task, "[environment.env]\nKEY = '${SECRET}'"), "this machine's environment"),
        (lambda task: settings(task, "[agent]\nuser = 'root'"), "the sandbox's own user"),
        (lambda task: settings(task, "[[steps]]\nname = 'one'"), "several steps"),
        (lambda task: settings(task, "[verifier.environment]\ncpus = 1"), "a verifier with an image"),
        (lambda task: settings(task, "[[artifacts]]\nsource = '/var/log'"), "/var/log lies outside"),
    ],
)
def test_a_task_that_needs_more_than_the_sandbox_has_is_refused_not_weakened(
    folder: Path, change: Callable[[Path], object], said: str
) -> None:
    text = (folder / "task.toml").read_text().replace("[verifier]\ntimeout_sec = 20.0\n", "")
    (folder / "task.toml").write_text(text)
    dockerfile(folder, "")
    change(folder)
    with pytest.raises(ConfigError, match=said) as caught:
        Terminal(tasks_path=str(folder), default_split="train").tasks("train")
    assert "the task answer cannot be played with sandbox='local'" in str(caught.value)


async def test_a_program_that_the_sandbox_lacks_is_named(folder: Path, env: Terminal) -> None:
    file = folder / "task.toml"
    file.write_text(file.read_text().replace('["bash"]', '["bash", "no-such-program"]'))
    with pytest.raises(ConfigError, match="needs no-such-program, which this sandbox does not have"):
        await env.reset(seed=1)


def test_a_dockerfile_is_followed_as_far_as_it_copies_and_sets(tmp_path: Path) -> None:
    context = tmp_path / "environment"
    (context / "data" / "deep").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "data/one", "data/deep/two"):
        (context / name).write_text(name)
    (context / "Dockerfile").write_text(
        "# a comment\nFROM python:3.11-slim\nWORKDIR /app\nENV GREETING='hello there' \\\n    COUNT=2\n"
        'COPY *.txt texts/\nCOPY a.txt first\nCOPY data/ /app/\nCMD ["bash"]\n'
    )
    recipe = read_dockerfile(context / "Dockerfile")
    assert {str(one.target): one.source.name for one in recipe.files} == {
        "texts/a.txt": "a.txt",
        "texts/b.txt": "b.txt",
        "first": "a.txt",
        "one": "one",
        "deep/two": "two",
    }
    assert dict(recipe.variables) == {"GREETING": "hello there", "COUNT": "2"}
    assert (recipe.base, recipe.work, recipe.obstacles) == ("python:3.11-slim", "/app", ())


def test_tasks_are_found_by_folder_and_by_name(folder: Path) -> None:
    tasks = folder.parent
    assert [one.name for one in read_folders(tasks)] == ["answer"]
    with pytest.raises(ConfigError, match="has no task 'other'; it has answer"):
        read_folders(tasks, ["other"])
    with pytest.raises(MissingDataError, match="there are no tasks in"):
        read_folders(tasks / "answer" / "tests")


def test_a_split_without_tasks_names_those_there_are(folder: Path) -> None:
    with pytest.raises(ConfigError, match="no tasks in the split 'dev'; it has test"):
        Terminal(tasks_path=str(folder)).tasks("dev")
