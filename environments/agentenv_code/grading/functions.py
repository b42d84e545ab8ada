"""Calls of a function: one execution for all of them, and every answer compared here."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence

from agentenv.sandbox import Sandbox
from agentenv_code.grading.bundle import DRIVER, bundle
from agentenv_code.grading.cases import FunctionCase
from agentenv_code.grading.comparison import normal, same
from agentenv_code.grading.replies import SILENT, Outcome, Replies, Reply, read_replies
from agentenv_code.inside.plain import Wire

_GRACE_SECONDS = 1.0
"""How much longer an execution may take than its calls, each of which the driver ends itself if it can."""


async def call_all(sandbox: Sandbox, code: str, name: str, cases: Sequence[FunctionCase], seconds: float) -> Replies:
    """Loads a program and calls one of its functions for each case. What is expected stays here.

    Args:
        seconds: for loading the program, and for each call.

    Raises:
        SandboxFailed: the sandbox failed.
    """
    key = secrets.token_hex(8)
    calls: list[Wire] = [
        {"name": name, "args": list(case.args), "kwargs": case.kwargs, "left": case.leaves is not None}
        for case in cases
    ]
    begin = f"{bundle(DRIVER)}driver = inside.Driver({key!r}, {code!r}, {seconds!r})\ndriver.load()\n"
    wall = seconds * (len(calls) + 1) + _GRACE_SECONDS
    result = await sandbox.run_python(f"{begin}driver.answer({json.dumps(calls)!r})", wall_seconds=wall)
    return read_replies(result, key)


def judge(case: FunctionCase, reply: Reply, tolerance: float) -> bool:
    """Whether a reply is the right one."""
    if case.raises is not None:
        return reply.outcome is Outcome.RAISED and reply.error == case.raises
    if reply.outcome is not Outcome.RETURNED or not same(normal(reply.value), case.returns, tolerance):
        return False
    return case.leaves is None or same(normal(reply.left), list(case.leaves), tolerance)


def reply_to(replies: Replies, number: int) -> Reply:
    """The reply to a case; that of loading the program where this is what went wrong."""
    if replies.loaded is not None and replies.loaded.outcome is not Outcome.RETURNED:
        return replies.loaded
    return replies.calls[number] if number < len(replies.calls) else SILENT
