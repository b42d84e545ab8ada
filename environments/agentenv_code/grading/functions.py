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
    program = (
        f"driver = inside.Driver({key!r}, {code!r}, {seconds!r})\ndriver.load()\ndriver.answer({json.dumps(calls)!r})\n"
    )
    return read_replies(await sandbox.run_python(bundle(DRIVER) + program), key)


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
