"""Test programs: they run in one sandbox, the candidate in another, and every call between them passes through here."""

from __future__ import annotations

import asyncio
import json
import secrets

from agentenv.errors import VerifierError
from agentenv.sandbox import Cause, ExecResult, PythonSession, Sandbox
from agentenv_code.grading.bundle import EXAMINER, bundle
from agentenv_code.grading.candidate import Candidate
from agentenv_code.grading.cases import Exam
from agentenv_code.grading.replies import Outcome, Reply
from agentenv_code.grading.verdict import Verdict
from agentenv_code.inside.plain import Wire

_MOST_CALLS = 10_000


async def examine(desk: Sandbox, candidate: Candidate, exam: Exam) -> Verdict:
    """Runs a test program that calls the candidate.

    The exam is passed when the test program says so, over a channel whose key nobody else has, after it has called the
    candidate at least once. Tests that were skipped count as failed.

    Args:
        desk: a sandbox for the test program; its limits on time are those of the whole exam.

    Raises:
        VerifierError: the test program is at fault: it failed before it ever called the candidate.
        SandboxFailed: a sandbox failed.
    """
    key = secrets.token_hex(16)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + desk.limits.wall_seconds
    async with await desk.python() as session:
        begin = f"examiner = inside.Examiner({key!r}, {exam.preamble!r}, {exam.program!r}, {exam.name!r})\n"
        code = f"{bundle(EXAMINER)}{begin}examiner.begin()"
        while candidate.calls <= _MOST_CALLS and loop.time() < deadline:
            message = await _run(session, code, key, deadline - loop.time(), candidate)
            match message:
                case {"call": name, "args": args, "kwargs": kwargs}:
                    reply = await candidate.call(name, args, kwargs)
                case {"passed": passed, "failures": failures}:
                    return _verdict(passed, failures, candidate)
                case {"unfit": why}:
                    raise VerifierError(f"the test program cannot be used: {why}")
                case _:
                    return _failed("the test program did not come to its end", candidate)
            if reply.outcome not in (Outcome.RETURNED, Outcome.RAISED) or candidate.tampering:
                return _failed(f"{exam.name} {reply.why()}", candidate)
            code = f"examiner.answer({json.dumps(_carried(reply))!r})"
    return _failed("the exam took too long", candidate)


async def _run(session: PythonSession, code: str, key: str, seconds: float, candidate: Candidate) -> Wire:
    """What the test program says next; `None` where it ended without a word."""
    result = await session.run(code, wall_seconds=seconds)
    message = _message(result, key)
    if message is None and not candidate.calls:
        told = result.stderr.text.strip() or result.message
        raise VerifierError(f"the test program ended as {result.cause.value} before its first call: {told[-300:]}")
    return message


def _message(result: ExecResult, key: str) -> Wire:
    if result.cause is not Cause.OK:
        return None
    head = key.encode() + b" "
    said = [line for line in result.stdout.data.split(b"\n") if line.startswith(head)]
    return json.loads(said[0][len(head) :]) if len(said) == 1 else None


def _carried(reply: Reply) -> Wire:
    if reply.outcome is Outcome.RAISED:
        return {"raised": reply.error, "message": reply.message}
    return {"value": reply.value}


def _verdict(passed: int, failures: list[str], candidate: Candidate) -> Verdict:
    if not candidate.calls:
        told = f": {failures[0]}" if failures else ""
        raise VerifierError(f"the test program never called the candidate{told}")
    problem = failures[0] if failures else ""
    return Verdict(passed, max(passed + len(failures), 1), problem, frozenset(candidate.tampering))


def _failed(problem: str, candidate: Candidate) -> Verdict:
    return Verdict(0, 1, problem, frozenset(candidate.tampering))
