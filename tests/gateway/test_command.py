"""`agentenv serve gateway` as a process: what it says, and what Ctrl-C leaves behind."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import web

from agentenv.outcome import Status
from agentenv.rollout import Journal
from tests.cli.support import command, environment, here
from tests.gateway.conftest import MESSAGES
from tests.gateway.test_faults import until
from tests.gateway.upstream import Upstream, always, answer


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """The program with --json on a free port, and what it said once it listened."""
    process = subprocess.Popen(
        command("serve", "gateway", *arguments, "--port", "0", "--json"),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


async def test_ctrl_c_ends_sessions_as_cancelled_and_prints_a_summary(tmp_path: Path) -> None:
    run = tmp_path / "run"
    async with Upstream(always(answer())) as upstream:
        entered = serving(upstream.url, "--run", str(run))
        process, about = await asyncio.to_thread(entered.__enter__)
        try:
            assert about["replicas"] == [{"url": upstream.url, "alive": True, "problem": ""}]
            async with openai.AsyncOpenAI(base_url=about["url"] + "/sessions/a/v1", api_key="none") as agent:
                await agent.chat.completions.create(model="m", messages=MESSAGES)
            process.send_signal(signal.SIGINT)
            said, complaints = await asyncio.to_thread(process.communicate, timeout=30)
        finally:
            await asyncio.to_thread(entered.__exit__, None, None, None)
    assert (process.returncode, complaints) == (0, "")
    summary = json.loads(said)
    assert summary["calls"] == {"ok": 1}
    assert summary["sessions"] == {"opened": 1, "ended": {"cancelled": 1}}
    with Journal.open(run / "journal.sqlite", create=False) as journal:
        assert journal.counts() == {Status.CANCELLED: 1}


async def test_a_server_with_raw_logprobs_is_warned_of(tmp_path: Path) -> None:
    asked = []

    async def even(upstream: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        """Says the same at every temperature."""
        asked.append(body["temperature"])
        top = {"a": -0.5, "b": -1.5, "c": -2.5}
        return web.json_response({"choices": [{"text": "a", "logprobs": {"top_logprobs": [top]}}]})

    async with Upstream(even) as upstream:
        entered = serving(upstream.url)
        process, _ = await asyncio.to_thread(entered.__enter__)
        try:
            await until(lambda: len(asked) == 2)
            process.send_signal(signal.SIGINT)
            _, complaints = await asyncio.to_thread(process.communicate, timeout=30)
        finally:
            await asyncio.to_thread(entered.__exit__, None, None, None)
    assert asked == [1.0, 2.0]
    assert upstream.url in complaints


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["http://127.0.0.1:1"], "no model server answers (http://127.0.0.1:1: connection refused"),
        (["nonsense"], "'nonsense' is no base URL"),
        (["http://127.0.0.1:1", "--run", "a", "--journal", "b"], "--run or --journal"),
        ([], "Missing argument"),
    ],
)
def test_a_mistake_is_one_clear_line(arguments: list[str], words: str, tmp_path: Path) -> None:
    result = here("serve", "gateway", "--port", "0", *arguments, folder=tmp_path)
    assert result.code in (1, 2)
    assert words in result.err
    assert "Traceback" not in result.err


def test_the_help_shows_an_example() -> None:
    assert "agentenv serve gateway http://127.0.0.1:8000/v1 --run runs/agents" in here("serve", "gateway", "--help").out
