"""Latency our gateway adds to a chat call: the same call directly and through it, in turns.

The model server says in each answer how long it had the call itself; what is compared is the rest of the time the
client waited, so neither the model's latency nor its scatter is in the figures. With one in flight the model answers at
once. With 64 it takes 150 to 350 ms, so that calls arrive as they come instead of all together: about 250 a second.

Continuing a session costs the gateway a request of its own: it has the model server render the conversation, to see
whether the tokens sampled before are in it. Where they are spelled otherwise it takes several: to prove that the text
is the same, and to have the answer to token ids read as a message. LiteLLM's added latency is measured beside, with one
in flight: it could not take 250 calls a second.
"""

from __future__ import annotations

import itertools
import json
import math
import statistics
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from benchmarks.gateway_client import FIRST_TURN, PLAIN, Answer, request, run_client, second_turn, send_all
from benchmarks.gateway_servers import Server, gateway, litellm, upstream
from benchmarks.gateway_upstream import DRIFTING
from benchmarks.peers.install import LITELLM
from benchmarks.result import Result, Table, milliseconds

CALLS = {1: 300, 64: 1280}
"""Of each kind in each round, by how many are in flight."""
LATENCY = {1: "0", 64: "0.15-0.35"}
TARGETS = {0.5: 0.001, 0.99: 0.005}
"""Seconds added, by quantile."""


class Kind(StrEnum):
    """Which call of a session."""

    FIRST = "first call"
    SECOND = "second turn"
    REALIGNED = "second turn, spelled otherwise"


@dataclass(frozen=True, slots=True)
class Added:
    """Seconds outside the model server, by quantile: directly, through a gateway, and the difference."""

    direct: dict[float, float]
    through: dict[float, float]

    def difference(self, quantile: float) -> float:
        return self.through[quantile] - self.direct[quantile]


Key = tuple[str, int, Kind]


def run(rounds: int = 5) -> Result:
    LITELLM.install()
    measured: dict[Key, list[Added]] = defaultdict(list)
    sessions = itertools.count()
    for in_flight in CALLS:
        with ExitStack() as stack:
            model = stack.enter_context(upstream(LATENCY[in_flight]))
            ours = stack.enter_context(gateway(model.url))
            compared = [(ours, kind) for kind in Kind]
            if in_flight == 1:
                compared.append((stack.enter_context(litellm(model.url)), Kind.FIRST))
            for number in range(rounds + 1):
                for server, kind in compared:
                    added = run_client(partial(_compare, model, server, kind, in_flight, sessions))
                    if number > 0:  # the first round warms up
                        measured[server.name, in_flight, kind].append(added)
            check_continuations(ours)
    return _result(measured, ours.name)


def check_continuations(server: Server) -> None:
    """Raises when second turns were not what they are called: a gateway that forks them has spared itself the work."""
    with urllib.request.urlopen(f"{server.url}/statistics", timeout=10) as answer:
        counts = json.load(answer)["continuations"]
    if counts.get("forked") or not counts.get("merged") or not counts.get("realigned"):
        raise RuntimeError(f"second turns should have been merged or realigned, every one, but were {counts}")


async def _compare(model: Server, server: Server, kind: Kind, in_flight: int, sessions: Iterator[int]) -> Added:
    """Sends the same calls directly and through the server, in blocks that take turns."""
    blocks = 4
    size = CALLS[in_flight] // blocks
    overheads: dict[str, list[float]] = defaultdict(list)
    for _ in range(blocks):
        numbers = list(itertools.islice(sessions, size))
        for target in (model, server):
            bodies: list[object] = [PLAIN] * size
            if kind is not Kind.FIRST:
                first = {**FIRST_TURN, "model": DRIFTING} if kind is Kind.REALIGNED else FIRST_TURN
                opening = [request(target.url, target.path(number), first) for number in numbers]
                bodies = [second_turn(answer.body, first) for answer in await send_all(target.url, opening, in_flight)]
            requests = [
                request(target.url, target.path(number), body) for number, body in zip(numbers, bodies, strict=True)
            ]
            overheads[target.name] += _overheads(await send_all(target.url, requests, in_flight), in_flight)
    return Added(_quantiles(overheads[model.name]), _quantiles(overheads[server.name]))


def _overheads(answers: Sequence[Answer], in_flight: int) -> list[float]:
    """Of all but those that were sent while the connections were being opened, all at the same moment."""
    return [answer.overhead for answer in answers[in_flight if in_flight > 1 else 0 :]]


def _quantiles(seconds: Sequence[float]) -> dict[float, float]:
    ordered = sorted(seconds)
    return {quantile: ordered[math.ceil(quantile * len(ordered)) - 1] for quantile in TARGETS}


def _result(measured: dict[Key, list[Added]], ours: str) -> Result:
    def median(key: Key, quantile: float) -> float:
        return statistics.median(added.difference(quantile) for added in measured[key])

    added = {(n, kind, q): median((ours, n, kind), q) for n in CALLS for kind in Kind for q in TARGETS}
    missed = [
        f"{kind}, {n} in flight: p{q * 100:.0f} {milliseconds(seconds)} ms"
        for (n, kind, q), seconds in added.items()
        if seconds > TARGETS[q]
    ]
    first = {(n, q): milliseconds(added[n, Kind.FIRST, q]) for n in CALLS for q in TARGETS}
    verdict = (
        f"The gateway adds {first[1, 0.5]} ms to the first call of a session at the median and {first[1, 0.99]} ms at "
        f"the 99th percentile with one in flight, {first[64, 0.5]} and {first[64, 0.99]} ms with 64; to a second turn "
        f"{milliseconds(added[1, Kind.SECOND, 0.5])} and {milliseconds(added[64, Kind.SECOND, 0.5])} ms at the median "
        f"(targets: 1 and 5 ms): {'missed at ' + '; '.join(missed) if missed else 'met'}."
    )
    rows = [
        [
            f"{name}, {kind}",
            str(in_flight),
            *(
                milliseconds(statistics.median(one[q] for one in ones))
                for q in TARGETS
                for ones in ([added.direct for added in found], [added.through for added in found])
            ),
            *(milliseconds(median((name, in_flight, kind), q)) for q in TARGETS),
        ]
        for (name, in_flight, kind), found in measured.items()
    ]
    header = ["through, kind of call", "in flight", "p50 direct, ms", "p50 through", "p99 direct", "p99 through"]
    header += ["**p50 added**", "**p99 added**"]
    data = {
        f"{name}, {n}, {kind}": [(one.direct, one.through) for one in found]
        for (name, n, kind), found in measured.items()
    }
    return Result("gateway_latency", verdict, Table(header, rows), data)
