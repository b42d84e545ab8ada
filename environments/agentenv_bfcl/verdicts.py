"""Whether a user's turn went as it should: BFCL's checks of state and of responses."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

from agentenv_bfcl.scenarios import Turn
from agentenv_bfcl.simulators import Worlds


class Failure(StrEnum):
    """What is wrong with a turn."""

    NO_CALL = "no_call"
    """No call was made where the ground truth makes some."""
    STATE = "state"
    """The worlds are not in the state in which the ground truth leaves them."""
    RESPONSE = "response"
    """The calls so far did not answer all that the ground truth's calls of this turn do."""
    UNASKED_CALL = "unasked_call"
    """A call was made where the ground truth makes none."""
    STEP_LIMIT = "step_limit"
    """The turn did not end."""


def failure(turn: Turn, worlds: Worlds, calls: int, responses: Counter[str], *, silence: bool) -> Failure | None:
    """What is wrong with a turn that has ended, or `None`.

    Args:
        turn: what the ground truth does in it.
        worlds: as the policy leaves them.
        calls: that were made in this turn.
        responses: of all calls so far, this turn's and those before it: what is known need not be asked again.
        silence: whether no call may be made where the ground truth makes none.
    """
    if not turn.calls:
        return Failure.UNASKED_CALL if silence and calls else None
    if not calls:
        return Failure.NO_CALL
    if worlds.differ(turn.state):
        return Failure.STATE
    return None if turn.responses <= responses else Failure.RESPONSE
