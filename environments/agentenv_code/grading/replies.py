"""What a program's driver sent, read with distrust: the program may have written any of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from agentenv.sandbox import Cause, ExecResult
from agentenv_code.grading.comparison import MalformedError, parse
from agentenv_code.grading.verdict import Tampering
from agentenv_code.inside.plain import Wire


class Outcome(StrEnum):
    """How a call ended."""

    RETURNED = "returned"
    RAISED = "raised"
    SLOW = "slow"
    UNPLAIN = "unplain"
    MISSING = "missing"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one call, or of loading the program.

    Attributes:
        value: what was returned. left: the arguments as the call left them, where that was asked.
        error, message: the name of what was raised, and its text; or why a value is not plain.
        printed: the beginning of what it printed.
    """

    outcome: Outcome
    value: Wire = None
    left: Wire = None
    error: str = ""
    message: str = ""
    printed: str = ""

    @classmethod
    def read(cls, wire: Wire) -> Reply:
        """Raises `MalformedError` where this is not what a driver sends."""
        try:
            texts = {name: wire.get(name, "") for name in ("error", "message", "printed")}
            outcome = Outcome(wire["outcome"])
        except (AttributeError, KeyError, ValueError) as error:
            raise MalformedError("no reply of a driver") from error
        if not all(isinstance(text, str) for text in texts.values()):
            raise MalformedError("no reply of a driver")
        return cls(outcome, wire.get("value"), wire.get("left"), **texts)

    def why(self) -> str:
        """What was wrong with it, where it is not the right one."""
        match self.outcome:
            case Outcome.RETURNED:
                return "returned a wrong value"
            case Outcome.RAISED:
                return f"raised {self.error}" + (f": {self.message}" if self.message else "")
            case Outcome.SLOW:
                return "took too long"
            case Outcome.UNPLAIN:
                return f"returned {self.message}"
            case Outcome.MISSING:
                return "is not defined"
        return "gave no answer"


SILENT = Reply(Outcome.SILENT)


@dataclass(slots=True)
class Replies:
    """What one execution sent: how loading went, a reply to each call, and what was noted.

    Attributes:
        result: of the execution. loaded: `None` where nothing was said of it.
        calls: in the order of the calls, perhaps fewer. done: whether the driver came to its end.
    """

    result: ExecResult
    loaded: Reply | None = None
    calls: list[Reply] = field(default_factory=list)
    done: bool = False
    tampering: set[Tampering] = field(default_factory=set)

    @property
    def printed(self) -> str:
        everything = [self.loaded, *self.calls] if self.loaded else self.calls
        return "".join(reply.printed for reply in everything)


def read_replies(result: ExecResult, key: str) -> Replies:
    """Reads what an execution wrote to the channel, which nobody but the driver knows the key of, or so it should be.

    Replies must come in order and once: with a second one to the same call, a program could name two answers.
    """
    replies = Replies(result)
    lines = result.stdout.data.split(b"\n")
    cut = lines.pop()  # an honest line ends; the last one may have been cut off with its program
    for line in lines:
        if not _take(replies, line, key.encode() + b" "):
            replies.tampering.add(Tampering.FORGED)
            break
    if cut and result.ok:
        replies.tampering.add(Tampering.FORGED)
    finished = result.cause in (Cause.OK, Cause.PROGRAM_ERROR) and (result.exit_code or 0) >= 0
    if finished and not replies.done:
        replies.tampering.add(Tampering.ENDED)
    return replies


def _take(replies: Replies, line: bytes, head: bytes) -> bool:
    """Adds what one line says; whether it is one that may come next."""
    if not line.startswith(head) or replies.done:
        return False
    try:
        match parse(line[len(head) :]):
            case {"loaded": outcome} if replies.loaded is None and not replies.calls:
                replies.loaded = Reply.read(outcome)
            case {"reply": int(number), **outcome} if number == len(replies.calls):
                replies.calls.append(Reply.read(outcome))
            case {"done": list(notes)}:
                replies.done = True
                replies.tampering |= {Tampering(note) for note in notes}
            case _:
                return False
    except (MalformedError, ValueError):
        return False
    return True
