"""What becomes of episodes: when they are closed, what is recorded of them, and what interrupts them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters

import agentenv
from agentenv.cli import run
from agentenv.mcp.server import EnvironmentTools, Episodes, EpisodesConfig, HTTPConfig, over_http, server_of
from agentenv.outcome import Status, StopReason
from agentenv.registry import EnvSpec
from agentenv.rollout import Journal, replay
from tests.mcp_server.conftest import COMMAND, solved, text_of
from tests.mcp_server.worlds import Changing, Slow, spec_of

CALCULATOR = agentenv.spec("calculator-v0").with_kwargs(level=2)


class Playing:
    """A server's tools without the protocol, and the episodes behind them."""

    def __init__(self, episodes: Episodes) -> None:
        self.episodes = episodes
        self.tools = EnvironmentTools(episodes, score=True)

    async def begin(self, **arguments: Any) -> str:
        handle: str = (await self.tools.call("start_episode", arguments)).structured_content["episode"]
        return handle

    async def say(self, name: str, handle: str, **arguments: Any) -> str:
        return text_of(await self.tools.call(name, {"episode": handle, **arguments}))


@contextlib.asynccontextmanager
async def playing(spec: EnvSpec, journal: Journal | None = None, **config: Any) -> AsyncIterator[Playing]:
    async with Episodes(spec, EpisodesConfig(**config), journal) as episodes:
        found = Playing(episodes)
        await found.tools.open()
        yield found


async def until(happened: Any) -> None:
    async with asyncio.timeout(30):
        while not happened():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def test_an_episode_that_is_over_takes_no_room_and_can_still_be_scored() -> None:
    async with playing(CALCULATOR, most=1) as game:
        first = await game.begin()
        assert "1 episodes are open" in text_of(await game.tools.call("start_episode", {}))
        await game.say("answer", first, text="1")
        assert game.episodes.count == 0
        second = await game.begin()
        assert "reward is 0" in await game.say("score", first)
        assert "reward is 0" in await game.say("score", second)
        await game.say("end_episode", first)
        assert "no such episode" in await game.say("score", first)


async def test_a_step_whose_client_hangs_up_is_taken_to_its_end_and_the_lease_closes_the_episode() -> None:
    Slow.anew()
    async with playing(spec_of(Slow), lease=1.0) as game:
        Slow.anew()
        handle = await game.begin()
        call = asyncio.create_task(game.say("wait", handle))
        await until(lambda: "wait begun" in Slow.done)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        Slow.go.set()
        await until(lambda: "waited" in Slow.done)
        assert "closed" not in Slow.done
        await until(lambda: "closed" in Slow.done)
        assert game.episodes.count == 0


async def test_an_episode_whose_client_hangs_up_while_it_begins_is_closed() -> None:
    Slow.anew()
    Slow.go.set()
    async with playing(spec_of(Slow, slow_reset=True), most=1) as game:
        Slow.anew()
        call = asyncio.create_task(game.begin())
        await until(lambda: "reset begun" in Slow.done)
        call.cancel()
        await until(lambda: "closed" in Slow.done)
        assert "reset" not in Slow.done
        Slow.go.set()
        assert await game.begin()


async def test_over_http_a_client_that_is_gone_in_the_middle_of_a_call_loses_its_episode_and_nobody_else() -> None:
    Slow.anew()
    async with (
        playing(spec_of(Slow), lease=1.0) as game,
        over_http(server_of("slow", game.tools), HTTPConfig(port=0)) as url,
    ):
        Slow.anew()

        async def play() -> None:
            async with Client(url) as client:
                begun = await client.call_tool("start_episode", {})
                await client.call_tool("wait", {"episode": begun.structured_content["episode"]})

        gone = asyncio.create_task(play())
        await until(lambda: "wait begun" in Slow.done)
        gone.cancel()
        await asyncio.wait([gone])
        Slow.go.set()
        await until(lambda: "closed" in Slow.done)
        assert game.episodes.count == 0
        async with Client(url) as client:
            begun = await client.call_tool("start_episode", {})
            handle = {"episode": begun.structured_content["episode"]}
            assert text_of(await client.call_tool("wait", handle)) == "waited"


async def test_an_episode_can_be_ended_in_the_middle_of_a_step() -> None:
    Slow.anew()
    async with playing(spec_of(Slow)) as game:
        Slow.anew()
        handle = await game.begin()
        call = asyncio.create_task(game.say("wait", handle))
        await until(lambda: "wait begun" in Slow.done)
        assert await game.say("end_episode", handle) == "The episode has ended."
        assert "was ended while it took this step" in await call
        await until(lambda: "closed" in Slow.done)
        assert "waited" not in Slow.done


async def test_a_server_that_ends_in_the_middle_of_a_step_closes_the_episode() -> None:
    Slow.anew()
    async with playing(spec_of(Slow)) as game:
        Slow.anew()
        handle = await game.begin()
        call = asyncio.create_task(game.say("wait", handle))
        await until(lambda: "wait begun" in Slow.done)
    assert "was ended" in await call
    the_source_of_tasks = ["closed"]
    assert Slow.done == ["reset begun", "reset", "wait begun", "closed", *the_source_of_tasks]


async def test_a_step_that_takes_too_long_fails_its_episode() -> None:
    Slow.anew()
    async with playing(spec_of(Slow), call_seconds=0.2) as game:
        handle = await game.begin()
        said = await game.say("wait", handle)
        assert "timeout" in said
        assert "gave no answer in 0.2 s" in said
        assert "no such episode" in await game.say("wait", handle)


async def test_of_two_calls_at_once_the_second_is_not_made_when_the_first_fails() -> None:
    async with playing(spec_of(Changing)) as game:
        handle = await game.begin()
        first, second = await asyncio.gather(game.say("crash", handle), game.say("open_door", handle))
        assert "burnt down" in first
        assert "no such episode" in second


async def test_a_reward_that_the_environment_has_ruled_out_is_a_failure_and_no_score(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "journal.sqlite") as journal:
        async with playing(spec_of(Changing), journal) as game:
            handle = await game.begin()
            # A tool of the environment's is called `answer` too; the server's own is the one that ends the episode.
            said = await game.say("answer", handle, text="too much")
            assert "verifier_error" in said
            assert "outside its reward_range" in said
            assert "no such episode" in await game.say("score", handle)
        (episode,) = journal.episodes()
        assert (episode.status, episode.reward) == (Status.VERIFIER_ERROR, None)


async def test_an_unknown_task_of_an_endless_source_is_refused_soon_and_holds_nobody_up() -> None:
    async with playing(CALCULATOR) as game:
        handle = await game.begin()
        started = time.perf_counter()
        search = asyncio.create_task(game.tools.call("start_episode", {"task": "nothing"}))
        await asyncio.sleep(0)
        assert await game.say("calculator", handle, expression="2+2") == "4"
        assert not search.done()
        refused = await search
        assert time.perf_counter() - started < 20
        assert refused.is_error
        assert text_of(refused).startswith("Error: the split 'train' has no task 'nothing'.")


async def test_every_episode_is_recorded_as_it_ended_and_can_be_replayed(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal.open(path) as journal:
        for _ in range(2):  # the second server finds the first one's episodes of the same task
            async with playing(spec_of(Changing), journal) as game:
                done, crashed, left = [await game.begin(task="one", seed=3) for _ in range(3)]
                await game.say("open_door", done)
                await game.say("treasure", done)  # its argument `episode` is not the handle's: nothing is played
                await game.tools.call("treasure", {"episode_handle": done, "episode": 4})
                await game.say("answer", done, text="found it")
                await game.say("crash", crashed)
                await game.say("look", left)
        episodes = list(journal.episodes())
        assert [(episode.status, episode.stop_reason, len(episode.turns)) for episode in episodes] == [
            (Status.OK, StopReason.TERMINATED, 3),
            (Status.SANDBOX_ERROR, StopReason.FAILURE, 1),
            (Status.CANCELLED, StopReason.CANCELLED, 1),
        ] * 2
        assert len({(episode.key.sibling, episode.status) for episode in episodes}) == 6
        finished = episodes[0]
        assert (finished.reward, finished.task.id, finished.seed, finished.policy) == (1.0, "one", 3, "mcp")
        assert [turn.action.message.text or turn.action.message.tool_calls[0].name for turn in finished.turns] == [
            "open_door",
            "treasure",
            "found it",
        ]
        assert episodes[1].failure is not None
        assert "burnt down" in episodes[1].failure.message
        report = await replay(journal)
        assert (report.episodes, report.differences) == (2, ())


async def test_the_command_keeps_a_journal_that_other_commands_read(tmp_path: Path) -> None:
    command = StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], "--out", str(tmp_path / "run")])
    async with Client(command) as client:
        assert (await solved(client, seed=4, implicit=True))["reward"] == 1.0
    with Journal.open(tmp_path / "run" / "journal.sqlite", create=False) as journal:
        (episode,) = journal.episodes()
        assert (episode.status, episode.reward, len(episode.turns)) == (Status.OK, 1.0, 3)
    assert await asyncio.to_thread(run, ["replay", str(tmp_path / "run")]) == 0
