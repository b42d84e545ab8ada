"""A demonstrator who speaks the protocol perfectly and calculates carelessly.

Imitating it teaches a policy how to call the tool and to answer with what it returned, but not which operation the
task asks for. What a policy can do beyond that it has learnt from the reward.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

from agentenv.errors import ConfigError, UnsupportedError
from agentenv.messages import Message, ToolCall, assistant
from agentenv.policy.contract import Completion, Policy, Sampling, Session
from agentenv.policy.scripted import turn_of
from agentenv.tools import ToolSpec
from agentenv.wrappers import Wrapper
from agentenv_calculator.env import Calculator
from agentenv_calculator.problems import Operator

_CONFUSED_WITH = {
    Operator.PLUS: Operator.TIMES,
    Operator.MINUS: Operator.PLUS,
    Operator.TIMES: Operator.MINUS,
}


class CarelessPolicy(Policy):
    """Takes the right operands in the right order, but confuses the operator with probability `wrong_operator`.

    Its confusions are always the same: plus for times, minus for plus, times for minus. It goes on with whatever the
    calculator returned and answers with its last result, so its digits are always right for what it asked. Its
    choices depend on the episode's seed and the turn alone.
    """

    name = "careless_calculator"

    def __init__(self, wrong_operator: float = 0.7) -> None:
        if not 0 <= wrong_operator <= 1:
            raise ConfigError(f"wrong_operator is a probability, got {wrong_operator}")
        self._wrong_operator = wrong_operator

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], sampling: Sampling, session: Session
    ) -> Completion:
        chain = _calculator(session).chain
        step = turn_of(messages)
        left = str(chain.first) if step == 0 else messages[-1].text
        if step == len(chain.steps):
            return Completion(assistant(left))
        operation, operand = chain.steps[step]
        rng = random.Random(f"{session.seed}/{step}")
        if rng.random() < self._wrong_operator:
            operation = _CONFUSED_WITH[operation]
        call = ToolCall(f"call_{step}", "calculator", json.dumps({"expression": f"{left}{operation}{operand}"}))
        return Completion(assistant(None, call), "tool_calls")


def _calculator(session: Session) -> Calculator:
    env = session.env.unwrapped if isinstance(session.env, Wrapper) else session.env
    if not isinstance(env, Calculator):
        raise UnsupportedError("careless_calculator demonstrates the calculator environment and no other")
    return env


def make_policy(argument: str | None = None, *, wrong_operator: float = 0.7) -> CarelessPolicy:
    """The calculator's careless demonstrator: right operands, a wrong operator most of the time."""
    if argument is not None:
        raise ConfigError("careless_calculator takes no argument; its option is wrong_operator")
    return CarelessPolicy(wrong_operator)
