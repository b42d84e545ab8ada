"""The same request gets the same answer from the fake and from vLLM 0.32: status, fields, types, tokens, errors.

The real server's answers are on file, so that the fake is held to them in every run, and the real one is held to the
file when it runs. After a change of the model, of the cases or of vLLM: `python -m tests.vllm.conformance.record URL`.
"""

from __future__ import annotations

import json
from functools import cache

import pytest

from tests.vllm.conformance.cases import CASES, REFUSALS, REPLIES
from tests.vllm.conformance.client import Json
from tests.vllm.conformance.compare import differences, recorded
from tests.vllm.conformance.conftest import Server
from tests.vllm.conformance.record import FILE


@cache
def on_file() -> Json:
    answers: Json = json.loads(FILE.read_text())
    return answers


async def test_every_reply_is_that_of_the_real_server(server: Server) -> None:
    await _hold_to_the_file(server, [case.name for case in REPLIES])


async def test_every_refusal_is_that_of_the_real_server(server: Server) -> None:
    await _hold_to_the_file(server, [case.name for case in REFUSALS])


async def _hold_to_the_file(server: Server, names: list[str]) -> None:
    found = {name: recorded(await CASES[name].ask(server.client)) for name in names}
    wrong = [
        f"{name}: {difference}" for name in names for difference in differences(found[name], on_file()[name], "reply")
    ]
    assert not wrong, "\n".join(wrong)


def test_all_cases_are_on_file() -> None:
    assert list(on_file()) == list(CASES)


@pytest.mark.parametrize("name", [case.name for case in REPLIES])
def test_replies_on_file_are_replies(name: str) -> None:
    assert on_file()[name]["status"] == 200
