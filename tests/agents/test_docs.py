"""The programs of docs/agents.md run as they are printed."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("agents")
pytest.importorskip("langgraph")
pytest.importorskip("pydantic_ai")

from agentenv.gateway import CallStatus, Gateway
from agentenv.tasks import Task
from examples.agents import plain_openai
from examples.agents.task import INSTRUCTIONS, calculator

PAGE = (Path(__file__).parents[2] / "docs" / "agents.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
NAMES = ("openai", "agents", "langgraph", "pydantic_ai", "collect")


def test_there_is_a_name_for_every_program() -> None:
    assert len(BLOCKS) == len(NAMES)


@pytest.mark.parametrize("name", NAMES[:-1])
async def test_an_agent_of_the_page_answers(name: str, embedded: Gateway) -> None:
    scope: dict[str, Any] = {
        "base_url": f"{embedded.url}/sessions/page/v1",
        "question": "7 times 8",
        "calculator": calculator,
        "INSTRUCTIONS": INSTRUCTIONS,
        "TOOLS": plain_openai.TOOLS,
    }
    await asyncio.to_thread(exec, BLOCKS[NAMES.index(name)], scope)
    session = embedded.sessions.use("page")
    records = [session.record(call) for call in session.calls]
    assert {record.status for record in records} == {CallStatus.OK}
    assert records[-1].answer == {"role": "assistant", "content": scope["answer"]}


async def test_the_harness_of_the_page_collects_rows(embedded: Gateway) -> None:
    scope: dict[str, Any] = {}
    exec(BLOCKS[-1], scope)
    tasks = [Task.ask(f"t{n}", f"{n} plus 2", answer=n + 2) for n in (3, 4)]
    episodes, rows = await scope["collect"](embedded.url, tasks, plain_openai.solve, siblings=2)
    assert [episode.key.sibling for episode in episodes] == [0, 1, 0, 1]
    assert {episode.reward for episode in episodes} <= {0.0, 1.0}
    assert len(rows.rows) == 4
    assert rows.excluded == ()
