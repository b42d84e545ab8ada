"""An environment at a distance is the environment: the same episodes, the same failures, and honesty about the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import agentenv
from agentenv import Action, EnvSpec, Episode, Status, Task, assistant
from agentenv.errors import ConfigError, EnvironmentFailure, RegistryError, UnsupportedError, VerifierError
from agentenv.gateway.environments import RemoteEnv, RemoteTasks, ServerUnreachable, SessionLost, remote_spec
from agentenv.gateway.environments.client import ServerFull
from agentenv.gateway.environments.connection import RECONNECT_S, Connection
from agentenv.policy.registry import make_policy
from agentenv.rollout import Journal, RetryConfig, RolloutConfig, RolloutEngine, group_requests
from agentenv.rollout.codec import episode_from_wire, episode_to_wire, from_json, to_json
from tests.cli.support import here
from tests.environment_server.actors import TASKS, Turns, Waiting, spec
from tests.environment_server.serving import serving, serving_in_thread, until
from tests.environment_server.test_faults import odd

TURNS = spec("Turns")
ONCE = RolloutConfig(retry=RetryConfig(attempts=0))


def say(text: str = "hello") -> Action:
    return Action(assistant(text))


async def play(wanted: EnvSpec, tasks: list[Task], policy: str) -> list[dict[str, Any]]:
    """The episodes of a rollout as records, without names and times."""
    async with make_policy(policy) as player, RolloutEngine(player) as engine:
        episodes = await engine.collect(group_requests(wanted, tasks, siblings=2, seed=3))
    return sorted((comparable(episode) for episode in episodes), key=lambda record: str(record["key"]))


def comparable(episode: Episode) -> dict[str, Any]:
    record: dict[str, Any] = from_json(to_json(episode_to_wire(episode)))
    for name in ("id", "started_at", "seconds"):
        del record[name]
    record["key"]["environment"] = ""
    for turn in record["turns"]:
        del turn["model_seconds"], turn["environment_seconds"]
        for call in turn["info"].get("tools", ()):
            del call["seconds"]
    return record


@pytest.mark.parametrize(
    ("id", "options"),
    [
        ("calculator-v0", {"level": 3}),
        ("math/arithmetic-v0", {}),
        ("gym/frozen_lake-v0", {}),
        ("gym/taxi-v0", {}),
        ("gym/blackjack-v0", {}),
        ("gym/cliff_walking-v0", {}),
    ],
)
@pytest.mark.parametrize("policy", ["oracle", "random"])
async def test_an_episode_played_at_a_distance_equals_the_one_played_here(
    id: str, options: dict[str, Any], policy: str
) -> None:
    local = agentenv.spec(id).with_kwargs(**options)
    if policy == "oracle":
        try:
            env = local.make()
            await env.reset(seed=1)
            env.oracle()
        except UnsupportedError:
            pytest.skip(f"{id} has no oracle")
    tasks = list(local.make().tasks("test").shuffle(5).head(4))
    with serving_in_thread(local, answers=True) as url:
        remote = remote_spec(url)
        assert remote.reward_range == local.reward_range
        assert list(agentenv.make(remote).tasks("test").shuffle(5).head(4)) == tasks
        assert await play(remote, tasks, policy) == await play(local, tasks, policy)


async def test_tasks_without_their_answers_are_as_good_for_playing() -> None:
    local = agentenv.spec("calculator-v0")
    tasks = list(local.make().tasks("test").shuffle(5).head(4))
    with serving_in_thread(local) as url:
        remote = remote_spec(url)
        shown = list(agentenv.make(remote).tasks("test").shuffle(5).head(4))
        assert [task.id for task in shown] == [task.id for task in tasks]
        assert all(task.answer is None for task in shown)
        far, near = await play(remote, shown, "random"), await play(local, tasks, "random")
    for record in (*far, *near):
        del record["task"]
    assert far == near


async def test_a_record_with_a_reference_survives_the_journal(tmp_path: Path) -> None:
    with serving_in_thread(TURNS) as url:
        remote = remote_spec(url)
        task = remote.make().tasks("test").task(1)
        requests = list(group_requests(remote, [task]))
        with Journal.open(tmp_path / "journal.sqlite") as journal:
            async with make_policy("noop") as policy, RolloutEngine(policy, ONCE, journal) as engine:
                (first,) = await engine.collect(requests)
                (again,) = await engine.collect(requests)
        assert first.status is Status.OK
        assert again.id == first.id
        assert episode_from_wire(from_json(to_json(episode_to_wire(first)))) == first


def test_remote_tasks_are_the_tasks() -> None:
    with serving_in_thread(TURNS, answers=True) as url:
        tasks = RemoteTasks(url, "test")
        assert tasks.size == len(TASKS)
        assert list(tasks) == TASKS
        assert list(tasks.shuffle(4).skip(1).head(3)) == list(Turns().tasks().shuffle(4).skip(1).head(3))
        with pytest.raises(IndexError):
            tasks.task(5)
        with pytest.raises(ConfigError, match="no split 'holdout'"):
            _ = RemoteTasks(url, "holdout").size
        endless = RemoteTasks(url, "train")
        assert endless.task(2) == TASKS[2]
    with serving_in_thread(agentenv.spec("calculator-v0"), answers=True) as url:
        there, here = RemoteTasks(url, "test"), agentenv.make("calculator-v0").tasks("test")
        assert there.size is None
        assert there.task(777) == here.task(777)


def test_a_url_is_an_id_and_says_what_is_served() -> None:
    with serving_in_thread(spec("Turns", max_turns=9, reward_range=(-2.0, float("inf")), tags=("a",))) as url:
        found = agentenv.spec(url + "/")
        assert (found.id, found.max_turns, found.reward_range, found.tags) == (url, 9, (-2.0, float("inf")), ("a",))
        assert EnvSpec.model_validate(found.model_dump()) == found
        with pytest.raises(RegistryError, match="level"):
            agentenv.make(url, level=3)


def test_the_command_line_takes_a_url(tmp_path: Path) -> None:
    with serving_in_thread(agentenv.spec("calculator-v0"), answers=True) as url:
        result = here("eval", url, "--policy", "oracle", "-n", "5", "--json", folder=tmp_path)
        assert result.code == 0, result.err
        assert result.json["reward"]["mean"] == 1.0
        assert here("describe", url, folder=tmp_path).code == 0
    refused = here("eval", url, "--policy", "oracle", folder=tmp_path)
    assert refused.code == 1
    assert "no environment server answers" in refused.err


async def test_seeds_are_honoured_and_drawn_tasks_come_back() -> None:
    async with serving(TURNS) as server:
        env = RemoteEnv(server.url)
        dice = []
        for seed in (7, 7, 8):
            _, info = await env.reset(seed=seed)
            assert env.seed == seed
            dice.append((info["dice"], env.task.id, (await env.step(say())).info["dice"]))
        assert dice[0] == dice[1] != dice[2]
        await env.reset()
        assert env.seed >= 0
        await env.close()
        assert server.sessions.occupied == 0


@pytest.mark.parametrize(
    ("kind", "error", "status"),
    [
        ("raises", EnvironmentFailure, Status.ENV_ERROR),
        ("verifier", VerifierError, Status.VERIFIER_ERROR),
        ("sandbox", agentenv.SandboxError, Status.SANDBOX_ERROR),
        ("text_reward", VerifierError, Status.VERIFIER_ERROR),
    ],
)
async def test_a_failure_there_is_the_same_failure_here(kind: str, error: type[Exception], status: Status) -> None:
    with serving_in_thread(odd(kind)) as url:
        env = RemoteEnv(url)
        await env.reset()
        with pytest.raises(error):
            await env.step(say())
        await env.close()
        async with make_policy("noop") as policy, RolloutEngine(policy, ONCE) as engine:
            (episode,) = await engine.collect(group_requests(remote_spec(url), TASKS[:1]))
        assert episode.status is status
        assert episode.reward is None


async def test_an_unscored_step_stays_unscored() -> None:
    async with serving(odd("unscored")) as server:
        env = RemoteEnv(server.url)
        await env.reset()
        assert (await env.step(say())).reward is None
        await env.close()


async def test_the_oracle_stays_at_the_server_unless_it_was_told_to_serve_it() -> None:
    async with serving(TURNS) as server:
        env = RemoteEnv(server.url)
        await env.reset()
        with pytest.raises(UnsupportedError, match="--answers"):
            env.oracle()
        await env.close()


async def test_environments_that_share_a_loop_share_a_connection() -> None:
    async with serving(TURNS) as server:
        envs = [RemoteEnv(server.url) for _ in range(20)]
        await asyncio.gather(*(env.reset() for env in envs))
        assert len({id(env._connection) for env in envs}) == 1
        assert server.sessions.occupied == 20
        results = await asyncio.gather(*(env.step(say(str(number))) for number, env in enumerate(envs)))
        for number, result in enumerate(results):
            assert result.observation.messages[0].text == f"you said '{number}'"
        await asyncio.gather(*(env.close() for env in envs))
        assert server.sessions.occupied == 0


async def test_a_step_that_is_cancelled_here_is_stopped_there() -> None:
    Waiting.prepare()
    async with serving(spec("Waiting")) as server:
        env = RemoteEnv(server.url)
        await env.reset()
        step = asyncio.create_task(env.step(say()))
        await Waiting.began.wait()
        step.cancel()
        await asyncio.wait([step])
        await env.close()
        assert (Waiting.stopped, Waiting.closed) == (1, 1)
        assert server.sessions.occupied == 0


async def test_a_server_that_is_full_says_so() -> None:
    async with serving(TURNS, max_sessions=1) as server:
        first, second = RemoteEnv(server.url), RemoteEnv(server.url)
        await first.reset()
        with pytest.raises(ServerFull, match="at most 1"):
            await second.reset()
        await first.close()
        await second.reset()
        await second.close()


async def test_a_wrong_key_and_a_wrong_address_are_one_clear_mistake() -> None:
    async with serving(TURNS, api_key="secret") as server:
        for key in (None, "wrong"):
            env = RemoteEnv(server.url, api_key=key)
            with pytest.raises(ConfigError, match="API key"):
                await env.reset()
            await env.close()
        env = RemoteEnv(server.url, api_key="secret")
        await env.reset()
        await env.close()
    env = RemoteEnv(server.url)
    with pytest.raises(ServerUnreachable, match="no environment server answers"):
        await env.reset()
    await env.close()
    with pytest.raises(ConfigError, match="no address"):
        RemoteEnv("calculator-v0")


async def test_another_environment_than_the_one_expected_is_an_error() -> None:
    async with serving(TURNS) as server:
        env = RemoteEnv(server.url, fingerprint="0123456789abcdef")
        with pytest.raises(EnvironmentFailure, match="no longer serves"):
            await env.reset()
        await env.close()


async def test_an_action_too_large_for_the_server_is_refused_before_it_is_sent() -> None:
    async with serving(TURNS, max_body=10_000) as server:
        env = RemoteEnv(server.url)
        await env.reset()
        with pytest.raises(ConfigError, match="at most 10000 bytes"):
            await env.step(say("x" * 20_000))
        await env.step(say())
        await env.close()


@asynccontextmanager
async def cable(port: int) -> AsyncIterator[tuple[str, Callable[[], Awaitable[None]]]]:
    """A way to the server that can be cut: its URL, and what cuts it. It can be used again at once."""
    writers: list[asyncio.StreamWriter] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        writers.extend([writer, there_writer])
        await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer), return_exceptions=True)

    async def cut() -> None:
        for writer in writers:
            writer.transport.abort()
        writers.clear()

    async with await asyncio.start_server(connect, "127.0.0.1", 0) as listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", cut
        await cut()


async def test_a_connection_cut_in_the_middle_of_a_step_costs_nothing_and_plays_nothing_twice() -> None:
    Waiting.prepare()
    async with serving(spec("Waiting")) as server, cable(int(server.url.rsplit(":", 1)[1])) as (url, cut):
        env = RemoteEnv(url)
        await env.reset()
        step = asyncio.create_task(env.step(say("before the cut")))
        await Waiting.began.wait()
        await cut()
        Waiting.go.set()
        result = await step
        assert result.observation.messages[0].text == "you said 'before the cut'"
        assert Waiting.steps == 1
        await cut()
        assert (await env.step(say())).terminated
        assert Waiting.steps == 2
        assert Waiting.opened == 1
        await env.close()


async def test_after_a_restart_the_session_is_lost_and_no_fresh_one_takes_its_place() -> None:
    async with serving(TURNS) as server:
        port = int(server.url.rsplit(":", 1)[1])
        env = RemoteEnv(server.url)
        await env.reset()
        await env.step(say())
    opened = Turns.opened
    async with serving(TURNS, port=port) as server:
        with pytest.raises(SessionLost):
            await env.step(say())
        assert Turns.opened == opened
        await env.reset()
        assert (await env.step(say())).reward == 0.0
        await env.close()


async def test_a_restart_in_the_middle_of_a_step_is_noticed_by_its_epoch() -> None:
    Waiting.prepare()
    async with serving(spec("Waiting")) as server:
        port = int(server.url.rsplit(":", 1)[1])
        env = RemoteEnv(server.url)
        await env.reset()
        step = asyncio.create_task(env.step(say()))
        await Waiting.began.wait()
    Waiting.go.set()
    async with serving(spec("Waiting"), port=port):
        with pytest.raises(SessionLost):
            await step
        assert Waiting.steps == 0
        await env.close()


async def test_a_server_that_does_not_come_back_fails_the_step_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    assert RECONNECT_S > 1
    monkeypatch.setattr("agentenv.gateway.environments.connection.RECONNECT_S", 0.2)
    Waiting.prepare()
    async with serving(spec("Waiting")) as server:
        env = RemoteEnv(server.url)
        await env.reset()
        step = asyncio.create_task(env.step(say()))
        await Waiting.began.wait()
    with pytest.raises((ServerUnreachable, SessionLost)):
        await step
    await env.close()


async def test_heartbeats_keep_a_quiet_session_open() -> None:
    async with serving(TURNS, lease=0.8) as server:
        env = RemoteEnv(server.url)
        await env.reset()
        (session,) = server.sessions
        first = session.expires_at
        await until(lambda: session.expires_at > first + 0.8)
        assert (await env.step(say())).reward == 0.0
        await env.close()


async def test_a_session_that_somebody_else_plays_is_lost() -> None:
    async with serving(TURNS) as server:
        env = RemoteEnv(server.url)
        await env.reset()
        assert env._connection is not None
        stolen: Connection = env._connection
        asked = {"op": "step", "session": env._session, "epoch": env._epoch, "turn": 0}
        await stolen.request({**asked, "message": say().message.to_wire()})
        with pytest.raises(SessionLost, match="somebody else"):
            await env.step(say())
        await env.close()


async def test_a_step_before_the_first_reset_is_a_mistake() -> None:
    with pytest.raises(EnvironmentFailure, match="reset the environment"):
        await RemoteEnv("http://127.0.0.1:1").step(say())


async def test_many_small_requests_at_once_stay_below_a_small_servers_limit() -> None:
    async with serving(TURNS, max_body=2_000) as server:
        envs = [RemoteEnv(server.url) for _ in range(30)]
        await asyncio.gather(*(env.reset() for env in envs))
        results = await asyncio.gather(*(env.step(say("x" * 500)) for env in envs))
        assert all(result.reward == 0.0 for result in results)
        await asyncio.gather(*(env.close() for env in envs))


async def test_a_first_request_that_is_too_large_is_refused_and_not_sent_for_ever() -> None:
    async with serving(TURNS, max_body=2_000) as server:
        env = RemoteEnv(server.url)
        with pytest.raises(ConfigError, match="at most 2000 bytes"):
            await env.reset(task=Task.ask("mine", "x" * 5_000))
        await env.close()


@pytest.mark.parametrize("says", ["goodbye", '{"no": "epoch"}', "[1, 2]", ""])
async def test_whoever_is_no_environment_server_is_found_out(says: str) -> None:
    async def answer(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if says:
            await socket.receive()
            await socket.send_str(says)
            await socket.receive()
        await socket.close()
        return socket

    app = web.Application()
    app.add_routes([web.get("/socket", answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        env = RemoteEnv(f"http://127.0.0.1:{runner.addresses[0][1]}")
        with pytest.raises((ConfigError, ServerUnreachable, EnvironmentFailure)):
            await env.reset()
        await env.close()
    finally:
        await runner.cleanup()
