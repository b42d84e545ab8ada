"""CPU time of a chat call in a gateway: ours against the LiteLLM proxy and agent-lightning's, side by side.

All three stand before the same model server of fixed answers and are sent the same requests, eight at a time, in turns.
Counted is the user and system time of the gateway's process, threads included, until a second after the last answer
(agent-lightning writes its records behind its answers). Ours and agent-lightning's record every call, LiteLLM's none.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from enum import StrEnum
from functools import partial

from benchmarks.gateway_client import FIRST_TURN, PLAIN, request, run_client, second_turn, send_all
from benchmarks.gateway_servers import Server, agent_lightning, gateway, litellm, upstream
from benchmarks.peers.install import AGENT_LIGHTNING, LITELLM
from benchmarks.result import Result, Table, milliseconds

IN_FLIGHT = 8
OURS, CALLS, CALLS_OF_PEERS = "agentenv", 2000, 160
"""Ours needs more for as fine a reading: the system counts CPU time in hundredths of a second."""
TARGET = 1 / 3
"""Of LiteLLM's cost; and below agent-lightning's."""


class Load(StrEnum):
    """What is asked."""

    SHORT = "answer of 64 tokens"
    LONG = "answer of 512 tokens"
    SECOND_TURN = "second turn of a session"


def run(rounds: int = 4) -> Result:
    for peer in (LITELLM, AGENT_LIGHTNING):
        peer.install()
    costs: dict[str, dict[Load, list[float]]] = defaultdict(lambda: defaultdict(list))
    with ExitStack() as stack:
        model = stack.enter_context(upstream())
        servers = [stack.enter_context(start(model.url)) for start in (gateway, litellm, agent_lightning)]
        sessions = itertools.count()
        for number in range(rounds + 1):
            for server in servers:
                for load in Load:
                    calls = CALLS if server.name == OURS else CALLS_OF_PEERS
                    cost = run_client(partial(_cpu_of_a_call, server, load, list(itertools.islice(sessions, calls))))
                    if number > 0:  # the first round warms up
                        costs[server.name][load].append(cost)
        versions = {server.name: server.version for server in servers}
    return _result(costs, versions)


async def _cpu_of_a_call(server: Server, load: Load, sessions: Sequence[int]) -> float:
    """Seconds, over one call in each of the sessions."""
    if load is Load.SECOND_TURN:
        opening = [request(server.url, server.path(session), FIRST_TURN) for session in sessions]
        answers = await send_all(server.url, opening, IN_FLIGHT)
        bodies = [second_turn(answer.body) for answer in answers]
        await asyncio.sleep(1)
    else:
        bodies = [{**PLAIN, "max_tokens": 64 if load is Load.SHORT else 512}] * len(sessions)
    requests = [request(server.url, server.path(session), body) for session, body in zip(sessions, bodies, strict=True)]
    before = server.cpu_seconds()
    await send_all(server.url, requests, IN_FLIGHT)
    await asyncio.sleep(1)
    return (server.cpu_seconds() - before) / len(requests)


def _result(costs: dict[str, dict[Load, list[float]]], versions: dict[str, str]) -> Result:
    medians = {name: {load: statistics.median(found) for load, found in loads.items()} for name, loads in costs.items()}
    ours, (litellm_, lightning) = medians[OURS], (medians[name] for name in medians if name != OURS)
    shares = [ours[load] / litellm_[load] for load in Load]
    met = max(shares) <= TARGET and all(ours[load] < lightning[load] for load in Load)
    verdict = (
        f"A recorded chat call costs the gateway {milliseconds(ours[Load.SHORT])} ms of CPU: {shares[0]:.2f} of what "
        f"the LiteLLM proxy takes to pass it on ({milliseconds(litellm_[Load.SHORT])} ms) and "
        f"{ours[Load.SHORT] / lightning[Load.SHORT]:.2f} of what agent-lightning's takes to record it "
        f"({milliseconds(lightning[Load.SHORT])} ms); at most {max(shares):.2f} of LiteLLM's over the three loads "
        f"(targets: {TARGET:.2f} of LiteLLM's, below agent-lightning's): {'met' if met else 'missed'}."
    )
    rows = [
        [
            f"{name} ({versions[name]})",
            *(f"{milliseconds(loads[load])} ({_relative(loads, ours, load)})" for load in Load),
        ]
        for name, loads in medians.items()
    ]
    header = ["CPU a call, ms (relative to ours)", *Load]
    return Result("gateway_cpu", verdict, Table(header, rows), {"in_flight": IN_FLIGHT, "cpu_s_a_call": costs})


def _relative(loads: dict[Load, float], ours: dict[Load, float], load: Load) -> str:
    return f"{loads[load] / ours[load]:.1f} ×"
