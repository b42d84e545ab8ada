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

_HABIT = {
    Operator.PLUS: Operator.TIMES,
    Operator.MINUS: Operator.PLUS,
    Operator.TIMES: Operator.MINUS,
}


class CarelessPolicy(Policy):
    """Takes the right operands in the right order, but a wrong operator with probability `wrong_operator`.

    Of its slips the share `habitual` follow a habit (times for plus, plus for minus, minus for times), the others take
    the third operator. It goes on with whatever the calculator returned and answers with its last result, so its
    digits are always right for what it asked. Its choices depend on the episode's seed and the turn alone.

    The habit matters to whoever imitates it: after slips without any pattern nothing the policy says depends on the
    word in the task, and reinforcement has to find that dependence before it can turn it round.
    """

    name = "careless_calculator"

    def __init__(self, wrong_operator: float = 0.7, habitual: float = 0.85) -> None:
        for name, value in (("wrong_operator", wrong_operator), ("habitual", habitual)):
            if not 0 <= value <= 1:
                raise ConfigError(f"{name} is a probability, got {value}")
        self._wrong_operator = wrong_operator
        self._habitual = habitual

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
            habit = _HABIT[operation]
            third = next(other for other in Operator if other not in (operation, habit))
            operation = habit if rng.random() < self._habitual else third
        call = ToolCall(f"call_{step}", "calculator", json.dumps({"expression": f"{left}{operation}{operand}"}))
        return Completion(assistant(None, call), "tool_calls")


def _calculator(session: Session) -> Calculator:
    env = session.env.unwrapped if isinstance(session.env, Wrapper) else session.env
    if not isinstance(env, Calculator):
        raise UnsupportedError("careless_calculator demonstrates the calculator environment and no other")
    return env


def make_policy(argument: str | None = None, *, wrong_operator: float = 0.7, habitual: float = 0.85) -> CarelessPolicy:
    """The calculator's careless demonstrator: right operands, a wrong operator most of the time."""
    if argument is not None:
        raise ConfigError("careless_calculator takes no argument; its options are wrong_operator and habitual")
    return CarelessPolicy(wrong_operator, habitual)
