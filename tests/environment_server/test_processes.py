"""Servers and clients as processes, and what is left when one of them is killed."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from agentenv import Action, assistant
from agentenv.errors import ConfigError
from agentenv.gateway.environments import RemoteEnv, ServerUnreachable, SessionLost
from tests.cli.support import here
from tests.environment_server.serving import ROOT, serving_in_process, until

ACTORS = str(Path(__file__).with_name("actors.py"))


def marked(folder: Path, *arguments: str) -> list[str]:
    """The arguments that serve an environment which leaves its traces in a folder."""
    return [f"{ACTORS}:Marked", "--env.folder", str(folder), "--port", "0", *arguments]


def open_in(folder: Path) -> list[Path]:
    return list(folder.glob("open-*"))


def steps_in(folder: Path) -> list[Path]:
    return list(folder.glob("step-*"))


async def test_ctrl_c_closes_every_session_and_ends_in_order(tmp_path: Path) -> None:
    with serving_in_process(*marked(tmp_path)) as (process, about):
        envs = [RemoteEnv(about["url"]) for _ in range(3)]
        for env in envs:
            await env.reset()
        assert len(open_in(tmp_path)) == 3
        process.send_signal(signal.SIGINT)
        _, said = await asyncio.to_thread(process.communicate, timeout=30)
        assert process.returncode == 0
        assert "3 open sessions closed" in said
        assert not open_in(tmp_path)
        for env in envs:
            await env.close()


async def test_a_client_killed_in_the_middle_of_a_step_leaves_nothing_behind(tmp_path: Path) -> None:
    with serving_in_process(*marked(tmp_path, "--env.seconds", "300", "--lease", "2")) as (_, about):
        program = (
            "import asyncio, sys\n"
            "from agentenv import Action, assistant\n"
            "from agentenv.gateway.environments import RemoteEnv\n"
            "async def main():\n"
            "    env = RemoteEnv(sys.argv[1])\n"
            "    await env.reset()\n"
            "    await env.step(Action(assistant('hello')))\n"
            "asyncio.run(main())\n"
        )
        client = await asyncio.create_subprocess_exec(sys.executable, "-c", program, about["url"], cwd=ROOT)
        await until(lambda: steps_in(tmp_path))
        client.kill()
        await client.wait()
        await until(lambda: not open_in(tmp_path))


@pytest.mark.parametrize("with_signal", [signal.SIGKILL, signal.SIGTERM])
async def test_a_server_that_ends_in_the_middle_of_a_step_is_an_error_and_no_reward(
    tmp_path: Path, with_signal: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentenv.gateway.environments.connection.RECONNECT_S", 0.2)
    with serving_in_process(*marked(tmp_path, "--env.seconds", "300")) as (process, about):
        env = RemoteEnv(about["url"])
        await env.reset()
        step = asyncio.create_task(env.step(Action(assistant("hello"))))
        await until(lambda: steps_in(tmp_path))
        process.send_signal(with_signal)
        with pytest.raises((ServerUnreachable, SessionLost)):
            await step
        await env.close()


async def test_a_key_in_the_environment_is_asked_for_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTENV_ENVIRONMENT_KEY", "secret")
    with serving_in_process(*marked(tmp_path)) as (_, about):
        env = RemoteEnv(about["url"])
        await env.reset()
        await env.close()
        monkeypatch.delenv("AGENTENV_ENVIRONMENT_KEY")
        stranger = RemoteEnv(about["url"])
        with pytest.raises(ConfigError, match="API key"):
            await stranger.reset()
        await stranger.close()


def test_what_it_says_of_itself_is_one_line_of_json(tmp_path: Path) -> None:
    with serving_in_process(*marked(tmp_path, "--answers", "--max-sessions", "7")) as (_, about):
        assert about["environment"].endswith("actors.py:Marked")
        assert (about["answers"], about["max_sessions"]) == (True, 7)
        assert json.loads(json.dumps(about)) == about


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing-v0"], "there is no environment 'nothing-v0'"),
        (["calculator-v0", "--host", "0.0.0.0"], "needs an API key"),
        (["calculator-v0", "--env.levle", "2"], "Did you mean 'level'?"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], says: str) -> None:
    result = here("serve", "environment", *arguments)
    assert result.code == 1
    assert says in result.err
    assert "Traceback" not in result.err
