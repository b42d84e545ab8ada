"""What the agent works with: a shell that remembers, with limits that are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentenv.env import Action
from agentenv.messages import Message, ToolCall, assistant
from agentenv_code.terminal.env import Terminal
from tests.environments.playing import call


def bash(command: str) -> Message:
    return call("bash", json.dumps({"command": command}))


async def said(env: Terminal, command: str) -> str:
    result = await env.step(Action(bash(command)))
    return result.observation.messages[0].text


async def test_folder_and_exported_variables_last_from_call_to_call(env: Terminal) -> None:
    await env.reset(seed=1)
    await said(env, "mkdir -p 'a b'/c && cd 'a b'/c && export GREETING=$'two\\nlines' && secret=1")
    assert await said(env, 'basename "$PWD"; echo "$GREETING${secret-, and nothing else}"') == (
        "c\ntwo\nlines, and nothing else"
    )
    assert await said(env, "exit 3") == "[exit code 3]"
    assert await said(env, 'basename "$PWD"') == "c"


async def test_what_runs_in_the_background_goes_on(env: Terminal) -> None:
    await env.reset(seed=1)
    await said(env, "mkfifo pipe; (cat pipe >heard) & disown; sleep 300 &")
    assert await said(env, "echo hello >pipe; until [ -s heard ]; do :; done; cat heard") == "hello"


async def test_long_output_is_shown_by_its_head_and_its_tail(env: Terminal) -> None:
    await env.reset(seed=1)
    text = await said(env, "seq 100000; echo and errors >&2")
    assert text.startswith("1\n2\n3\n")
    assert text.endswith("100000\nand errors")
    assert "characters left out]" in text
    assert len(text) < 8_100


async def test_a_command_that_takes_too_long_is_stopped_and_the_session_goes_on(folder: Path) -> None:
    env = Terminal(tasks_path=str(folder), default_split="train", command_seconds=0.5)
    await env.reset(seed=1)
    assert await said(env, "echo begun; sleep 60") == "begun\n[stopped: it took longer than 0.5 s]"
    assert await said(env, "echo still here") == "still here"
    await env.close()


async def test_the_time_of_all_commands_is_the_tasks(folder: Path) -> None:
    file = folder / "task.toml"
    file.write_text(f"{file.read_text()}\n[agent]\ntimeout_sec = 0.4\n")
    env = Terminal(tasks_path=str(folder), default_split="train")
    await env.reset(seed=1)
    assert "[stopped: it took longer than 0.4 s]" in await said(env, "sleep 60")
    assert await said(env, "echo more") == "[the time for this task is used up; answer DONE]"
    await env.close()


async def test_calls_of_one_turn_run_in_their_order(env: Terminal) -> None:
    await env.reset(seed=1)
    commands = ["sleep 0.2; cd /tmp; echo one", "pwd", "echo three >&2; exit 2"]
    calls = [ToolCall(str(number), "bash", json.dumps({"command": text})) for number, text in enumerate(commands)]
    result = await env.step(Action(assistant(None, *calls)))
    assert [message.text for message in result.observation.messages] == ["one", "/tmp", "three\n[exit code 2]"]


@pytest.mark.parametrize("command", ["a\0b", "x" * 100_001])
async def test_what_no_kernel_takes_is_told_to_the_agent(env: Terminal, command: str) -> None:
    await env.reset(seed=1)
    assert (await said(env, command)).startswith("Error: ValueError: a command")


async def test_only_the_word_ends_a_session(env: Terminal) -> None:
    await env.reset(seed=1)
    for text in ("", "I am done with this.", "DONE is what I am not"):
        result = await env.step(Action(assistant(text)))
        assert (result.terminated, float(result.reward or 0.0)) == (False, 0.0)
        assert "answer DONE" in result.observation.messages[0].text
    assert (await env.step(Action(assistant("Nothing to do.\nDONE")))).terminated
