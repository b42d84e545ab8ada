"""Asking replicas until one answers, as long as the agent has not been sent anything."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import aiohttp

from agentenv.gateway.calls import CallStatus
from agentenv.gateway.connections import CannotConnect
from agentenv.gateway.failures import ApiError
from agentenv.gateway.requests import TOKEN_FIELDS, Question
from agentenv.gateway.router import ATTEMPTS, Replica, Router, describe
from agentenv.gateway.sessions import Session
from agentenv.gateway.statistics import GatewayStatistics
from agentenv.gateway.wirejson import loads

_LOG = logging.getLogger("agentenv.gateway")
_PAUSES = (0.02, 0.05, 0.1, 0.25)
Result = TypeVar("Result")


class Interrupted(Exception):
    """A replica failed a call of which the agent has not seen anything yet: it may be given to another one.

    Attributes:
        error: what the agent is told when there is no other.
        again: the same replica may be asked once more (an idle connection was closed under the request).
        paused: the replica will answer again in a moment: its weights are being replaced.
    """

    def __init__(self, error: ApiError, *, again: bool = False, paused: bool = False) -> None:
        super().__init__(error.message)
        self.error = error
        self.again = again
        self.paused = paused


class FieldRefused(Exception):
    """The replica does not know a field of ours; it is left out from now on."""


async def ask_replicas(
    router: Router,
    session: Session,
    statistics: GatewayStatistics,
    use: Callable[[Replica], Awaitable[Result]],
    pause_seconds: float,
) -> Result:
    """Asks the session's replica, then others.

    Args:
        use: makes the call; raises `Interrupted` where another replica may be asked.
        pause_seconds: how long to wait for replicas that are only paused.

    Raises:
        ApiError: what the last replica answered, or that none is left.
    """
    tried: Counter[Replica] = Counter()
    deadline = time.monotonic() + pause_seconds
    pauses = iter(_PAUSES)
    failure: Interrupted | None = None
    while True:
        try:
            replica = router.choose(session.replica, tried)
        except ApiError:
            if failure is None or not any(known.alive for known in router.replicas):
                raise
            if not failure.paused or time.monotonic() > deadline:
                raise failure.error from None
            await asyncio.sleep(next(pauses, _PAUSES[-1]))
            tried.clear()
            continue
        statistics.moved += failure is not None
        session.replica = replica
        replica.in_flight += 1
        try:
            result = await use(replica)
        except Interrupted as interruption:
            failure = interruption
            tried[replica] += 1 if failure.again else ATTEMPTS
        except FieldRefused:
            continue
        else:
            replica.calls += 1
            return result
        finally:
            replica.in_flight -= 1


def unreachable(error: BaseException, replica: Replica, seconds: float) -> ApiError | Interrupted:
    """What an exception of the HTTP client means for a call of which the agent has seen nothing yet."""
    if isinstance(error, CannotConnect | aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        problem = describe(error, seconds)
        replica.failed(problem)
        return Interrupted(_bad_gateway(f"{replica.url}: {problem}"))
    if isinstance(error, TimeoutError):
        message = f"the model server {replica.url} did not answer in time ({seconds:g} s)"
        return ApiError(504, message, code="upstream_timeout", call_status=CallStatus.UPSTREAM_TIMEOUT)
    replica.watch.set()
    return Interrupted(_bad_gateway(f"the connection to {replica.url} broke: {describe(error, seconds)}"), again=True)


def refusal(
    replica: Replica, status: int, headers: Mapping[str, str], raw: bytes, question: Question
) -> ApiError | Interrupted | FieldRefused:
    """What an HTTP error of a replica means."""
    words = _message(raw)
    if status in (400, 422) and (fields := _refused_fields(words, question) - replica.refused):
        replica.refused |= fields
        _LOG.warning("%s does not take %s: calls are recorded without", replica.url, ", ".join(sorted(fields)))
        return FieldRefused()
    error = ApiError(
        status if status >= 400 else 502,
        words or f"the model server answered {status}",
        call_status=CallStatus.REFUSED if 400 <= status < 500 else CallStatus.UPSTREAM_ERROR,
        headers={name: headers[name] for name in ("Retry-After",) if name in headers},
        body=raw if _is_error_body(raw) else None,
    )
    if status < 500:
        return error
    return Interrupted(error, paused=status == 503)


def unusable(problem: str, raw: bytes) -> ApiError:
    """An answer with status 200 that is none."""
    shown = raw[:200].decode(errors="replace")
    error = _bad_gateway(f"{problem}: {' '.join(shown.split())}" if shown else problem)
    error.code = "bad_upstream_answer"
    return error


def cut_off(replica_url: str) -> ApiError:
    """A stream that ended in the middle."""
    error = _bad_gateway(f"the stream of {replica_url} ended in the middle of the answer")
    error.code = "upstream_cut"
    return error


def given_up(replica_url: str) -> ApiError:
    """A generation the server itself ended: it was aborted because the weights changed, or failed."""
    return ApiError(
        503,
        f"{replica_url} gave the generation up (its weights are being replaced); ask again",
        code="generation_aborted",
        call_status=CallStatus.ABORTED,
        headers={"Retry-After": "1"},
    )


def _bad_gateway(message: str) -> ApiError:
    return ApiError(502, message, code="upstream_unreachable", call_status=CallStatus.UPSTREAM_ERROR)


def _refused_fields(words: str, question: Question) -> frozenset[str]:
    """The fields of ours that an error is about. What the agent asked for itself is the agent's."""
    mine = [name for name in TOKEN_FIELDS if name not in question.body]
    if "top_logprobs" in question.body and "logprobs" in mine:
        mine.remove("logprobs")
    return frozenset(name for name in mine if name in words)


def _message(raw: bytes) -> str:
    try:
        found = loads(raw)
        for name in ("error", "message", "detail"):
            if isinstance(found, dict) and name in found:
                found = found[name]
    except ValueError:
        found = raw.decode(errors="replace")
    text = " ".join(str(found).split())
    return text if len(text) <= 500 else text[:499] + "…"


def _is_error_body(raw: bytes) -> bool:
    try:
        return isinstance(loads(raw)["error"], dict)
    except (ValueError, KeyError, TypeError):
        return False
