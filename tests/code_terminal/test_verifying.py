"""The tests of a task come when the agent has gone, and nothing that it left deceives them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

import agentenv
from agentenv.env import Action
from agentenv.errors import VerifierError
from agentenv.sandbox import Isolation
from agentenv_code.terminal.env import OWN_TASKS, Terminal
from tests.code_terminal.test_shell import bash, said
from tests.environments.playing import Played, play, play_oracle

NAMES = sorted(path.name for path in OWN_TASKS.iterdir())


TASKS_OF = {split: [task.id for task in Terminal().tasks(split)] for split in ("train", "test")}


async def attack(name: str, *commands: str) -> list[Played]:
    """Episodes of one of our tasks in which nothing is done but one command each."""
    env = Terminal(names=[name])
    (task,) = env.tasks("train" if name in TASKS_OF["train"] else "test")
    played = [await play(env, [bash(command), "DONE"], task) for command in commands]
    await env.close()
    return played


def test_all_of_our_tasks_are_in_a_split() -> None:
    assert sorted(TASKS_OF["train"] + TASKS_OF["test"]) == NAMES


@pytest.mark.parametrize("split", ["train", "test"])
async def test_the_solution_solves_a_task_and_doing_nothing_does_not(split: str) -> None:
    env = agentenv.make("code/terminal-v0")
    for task in env.tasks(split):
        assert (await play_oracle(env, task)).total == 1.0, task.id
        assert (await play(env, ["DONE"], task)).total == 0.0, task.id
    await env.close()


FORGERIES = {
    "rewards written in advance": (
        "for place in . ~ /tmp /tmp/verifier /tmp/verifier/logs; do mkdir -p $place/verifier $place/logs/verifier; "
        "echo 1 | tee $place/reward.txt $place/verifier/reward.txt $place/logs/verifier/reward.txt; done"
    ),
    "a daemon that rewrites every reward": (
        "setsid bash -c 'while :; do for file in /tmp/*/logs/verifier; do echo 1 >$file/reward.txt; "
        'echo "{\\"reward\\": 1}" >$file/reward.json; done; done\' >/dev/null 2>&1 & disown'
    ),
    "another python3": (
        "mkdir -p bin && printf '#!/bin/sh\\nexit 0\\n' >bin/python3 && chmod +x bin/python3 && "
        "export PATH=$PWD/bin:$PATH BASH_ENV=$PWD/env && cp bin/python3 ~/python3 && "
        "echo 'python3() { return 0; }; export -f python3' | tee env ~/.bashrc ~/.profile ~/.bash_profile; "
        "python3() { return 0; }; export -f python3; alias python3=true"
    ),
    "modules that end the interpreter": (
        "for name in sitecustomize usercustomize json hashlib pathlib collections; do "
        "echo 'import os; os._exit(0)' >$name.py; done; export PYTHONPATH=$PWD PYTHONSTARTUP=$PWD/json.py; "
        "site=$(python3 -Im site --user-site); mkdir -p $site; cp *.py $site; echo 'import usercustomize' >$site/x.pth"
    ),
    "a folder for temporary files that nobody can write to": "chmod 000 /tmp",
    "a full disk": "dd if=/dev/zero of=fill bs=1M; true",
}


async def test_a_forged_reward_earns_nothing() -> None:
    played = await attack("merge-settings", *FORGERIES.values())
    assert {name: one.total for name, one in zip(FORGERIES, played, strict=True)} == dict.fromkeys(FORGERIES, 0.0)
    assert all(one.last.terminated for one in played)


async def test_whoever_breaks_the_verifier_is_told_from_a_verifier_that_is_broken() -> None:
    (played,) = await attack("merge-settings", "chmod 000 /tmp")
    assert played.last.info["metrics"]["verifier_broken"] is True


async def test_an_honest_solution_beside_a_daemon_is_paid(env: Terminal) -> None:
    played = await play(env, [bash("echo 42 >answer.txt; setsid sleep 600 & disown"), "DONE"])
    assert played.total == 1.0


async def test_the_tests_are_nowhere_while_the_agent_works() -> None:
    env = Terminal(names=["merge-settings"])
    await env.reset(seed=1)
    look = "find / -xdev \\( -name test.sh -o -name check.py \\) 2>/dev/null; find /tmp ~ . -xdev -name '*.sh'; true"
    assert await said(env, look) == "[no output]"
    await env.close()


async def test_a_program_of_the_agents_runs_where_no_reward_is() -> None:
    """It is run by a collect command, in the agent's own sandbox; what it prints is all that is taken."""
    program = (
        "cat >total.sh <<'END'\nmkdir -p ${LOGS_DIR:-/tmp}/verifier\necho 1 >${LOGS_DIR:-/tmp}/verifier/reward.txt\n"
        "(while :; do echo 1 | tee /tmp/*/logs/verifier/reward.txt; done >/dev/null 2>&1) & disown\nEND"
    )
    link = "printf 'total,0\\n' >elsewhere; echo 'ln -sf elsewhere none.out' >total.sh; mkdir given.out other.out"
    assert [played.total for played in await attack("repair-the-pipeline", program, link)] == [0.0, 0.0]


async def test_the_other_numbers_of_a_reward_are_metrics(folder: Path, env: Terminal) -> None:
    (folder / "tests" / "test.sh").write_text(
        'echo \'{"reward": 0.5, "style": 0.25, "note": "fair", "flag": true}\' >"$LOGS_DIR/verifier/reward.json"\n'
        'echo 1 >"$LOGS_DIR/verifier/reward.txt"\nexit 1\n'
    )
    played = await play(env, ["DONE"])
    metrics = {"turns": 1, "tool_calls": 0, "tool_errors": 0, "verifier_style": 0.25, "verifier_broken": False}
    assert (played.total, played.last.info["metrics"]) == (0.5, metrics)
    assert played.last.info["isolation"] is Isolation.NAMESPACES


@pytest.mark.parametrize("reward", ["nan", "good", "", '{"score": 1}'])
async def test_tests_that_give_no_reward_at_all_are_a_failure_and_no_zero(
    folder: Path, env: Terminal, reward: str
) -> None:
    (folder / "tests" / "test.sh").write_text(f"echo '{reward}' >\"$LOGS_DIR/verifier/reward.txt\"\n")
    await env.reset(seed=1)
    with pytest.raises(VerifierError, match=r"test\.sh wrote no reward"):
        await play(env, ["DONE"])


async def test_files_beside_a_solution_come_with_it(folder: Path, env: Terminal) -> None:
    (folder / "solution" / "solve.sh").write_text('cp "$(dirname "$0")/number" answer.txt\n')
    (folder / "solution" / "number").write_text("42\n")
    assert (await play_oracle(env)).total == 1.0


async def test_a_cancelled_episode_leaves_nothing(env: Terminal) -> None:
    await env.reset(seed=1)
    marked = "1234.56789"
    async with asyncio.timeout(20):
        step = asyncio.create_task(env.step(Action(bash(f"sleep {marked} & sleep {marked}"))))
        while not _running(marked):  # noqa: ASYNC110 - a program tells nobody that it has begun
            await asyncio.sleep(0)
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step
        await env.close()
        assert not _running(marked)


def _running(marked: str) -> bool:
    """Whether a process of this machine has this among its arguments."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(file.read_text().split("\0"))
        except OSError:
            continue
    return any(arguments[:2] == ["sleep", marked] for arguments in found)


def test_a_task_survives_the_journal() -> None:
    task = next(iter(Terminal().tasks("train")))
    assert agentenv.Task.from_json(task.to_json()) == task
    assert json.loads(task.to_json())["split"] == "train"
