"""A demonstrator who writes one-liners in perfect form and mixes up the signs.

Imitating it teaches a policy to write functions that load and return numbers, but not which sign the task asks for:
that it can only learn from what the grader pays.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from agentenv.errors import ConfigError, UnsupportedError
from agentenv.messages import Message, assistant
from agentenv.policy.contract import Completion, Policy, Sampling, Session
from agentenv.tools import ToolSpec
from agentenv.wrappers import Wrapper
from agentenv_code.synthesis.one_liners import HEAD, OneLiners

_HABIT = {"+": "*", "-": "+", "*": "-"}


class CarelessCoder(Policy):
    """Takes the right numbers in the right order, and each sign wrongly with probability `wrong_sign`.

    It puts everything before the last step into brackets, so that whoever imitates it has nothing to unlearn but signs.
    Of its slips the share `habitual` follow a habit (times for plus, plus for minus, minus for times), the others take
    the third sign: the habit makes what it writes depend on the words of the task, which reinforcement can turn round
    (see `agentenv_calculator.careless`). Its choices depend on the episode's seed alone.
    """

    name = "careless_coder"

    def __init__(self, wrong_sign: float = 0.7, habitual: float = 0.85) -> None:
        for name, value in (("wrong_sign", wrong_sign), ("habitual", habitual)):
            if not 0 <= value <= 1:
                raise ConfigError(f"{name} is a probability, got {value}")
        self._wrong_sign = wrong_sign
        self._habitual = habitual

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], sampling: Sampling, session: Session
    ) -> Completion:
        rng = random.Random(session.seed)
        text = "x"
        for sign, number in _one_liners(session).task.data["steps"]:
            before = text if text == "x" else f"({text})"
            text = f"{before} {self._sign(rng, sign)} {number}"
        return Completion(assistant(HEAD + text))

    def _sign(self, rng: random.Random, right: str) -> str:
        if rng.random() >= self._wrong_sign:
            return right
        habit = _HABIT[right]
        third = next(sign for sign in _HABIT if sign not in (right, habit))
        return habit if rng.random() < self._habitual else third


def _one_liners(session: Session) -> OneLiners:
    env = session.env.unwrapped if isinstance(session.env, Wrapper) else session.env
    if not isinstance(env, OneLiners):
        raise UnsupportedError("careless_coder demonstrates code/one_liners-v0 and no other environment")
    return env


def make_policy(argument: str | None = None, *, wrong_sign: float = 0.7, habitual: float = 0.85) -> CarelessCoder:
    """The one-liners' careless demonstrator: right numbers, a wrong sign most of the time."""
    if argument is not None:
        raise ConfigError("careless_coder takes no argument; its options are wrong_sign and habitual")
    return CarelessCoder(wrong_sign, habitual)
