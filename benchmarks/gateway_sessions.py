"""Memory of an open session: five thousand at a time, each with the two calls of a calculator episode on record.

Counted is what the gateway's process grows by from the first thousand sessions to the last, its garbage collected
before each reading: resident memory, and in a run of its own the Python objects that tracemalloc sees.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from benchmarks.gateway_client import FIRST_TURN, request, run_client, second_turn, send_all
from benchmarks.gateway_servers import session_keeper, upstream
from benchmarks.result import Result, Table

SETTLED, SESSIONS = 1000, 6000
"""The difference is five thousand sessions."""
IN_FLIGHT = 32
TARGET = 30_000
"""Bytes a session."""


def run(rounds: int = 3) -> Result:
    with upstream() as model:
        resident = [_bytes_a_session(model.url, trace=False) for _ in range(rounds)]
        traced = _bytes_a_session(model.url, trace=True)
    worst = max(resident)
    verdict = (
        f"With {SESSIONS - SETTLED:,} more sessions open, each with two recorded calls, the gateway holds "
        f"{worst / 1000:.1f} kB more for each ({traced / 1000:.1f} kB in Python objects; target: at most "
        f"{TARGET / 1000:.0f} kB): {'met' if worst <= TARGET else 'missed'}."
    )
    rows = [
        ["resident memory, highest of the rounds", f"{worst / 1000:.1f}"],
        ["resident memory, lowest of the rounds", f"{min(resident) / 1000:.1f}"],
        ["Python objects", f"{traced / 1000:.1f}"],
    ]
    table = Table(["an open session with two calls", "kB"], rows)
    return Result("gateway_sessions", verdict, table, {"resident": resident, "traced": traced, "sessions": SESSIONS})


def _bytes_a_session(upstream_url: str, *, trace: bool) -> float:
    with session_keeper(upstream_url, trace=trace) as keeper:
        run_client(lambda: _play(keeper.url, range(SETTLED)))
        before = keeper.held(SETTLED)
        run_client(lambda: _play(keeper.url, range(SETTLED, SESSIONS)))
        after = keeper.held(SESSIONS)
    which = "traced" if trace else "resident"
    return (after[which] - before[which]) / (SESSIONS - SETTLED)


async def _play(url: str, sessions: Sequence[int]) -> None:
    """Both calls of an episode in each session; none is ended."""
    first = [{**FIRST_TURN, "messages": [_question(session)]} for session in sessions]
    opening = [request(url, _path(session), body) for session, body in zip(sessions, first, strict=True)]
    answers = await send_all(url, opening, IN_FLIGHT)
    second = [
        request(url, _path(session), second_turn(answer.body, body))
        for session, answer, body in zip(sessions, answers, first, strict=True)
    ]
    for answer in await send_all(url, second, IN_FLIGHT):
        if json.loads(answer.body)["choices"][0]["finish_reason"] != "stop":
            raise RuntimeError("an episode did not end")


def _question(session: int) -> dict[str, str]:
    """Another one for each session."""
    return {"role": "user", "content": f"{session} minus 31, then plus {session % 97}"}


def _path(session: int) -> str:
    return f"/sessions/episode-{session}/v1/chat/completions"
