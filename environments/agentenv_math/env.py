"""The conversation every environment here has: a problem, one or more attempts, a grade."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from agentenv.chat import ChatEnv
from agentenv.env import Action, StepResult
from agentenv.errors import ConfigError
from agentenv.messages import Message, assistant, user
from agentenv.rewards import reward
from agentenv_math.grader import TIMEOUT, Grade, grade, require_math_verify

MAX_ATTEMPTS = 10


class MathEnv(ChatEnv):
    """Asks the task's question until it is answered rightly or the attempts are used up.

    The right answer earns `decay ** wrong attempts before it`, anything else 0. What counts as an answer is said in
    `agentenv_math.answers`, when two answers are equal in `agentenv_math.grader`. The metrics are `attempts` and
    `grader_killed`, the number of answers that made the grader hang or crash (and counted as wrong).
    """

    literal = False
    """Accept worked-out numbers only."""

    grading_seconds = TIMEOUT
    """How long one answer may keep the grader busy."""

    def __init__(self, *, system_prompt: str, attempts: int = 1, decay: float = 0.5) -> None:
        super().__init__()
        if not 1 <= attempts <= MAX_ATTEMPTS:
            raise ConfigError(f"attempts must lie between 1 and {MAX_ATTEMPTS}, got {attempts}")
        if not 0 <= decay <= 1:
            raise ConfigError(f"decay must lie between 0 and 1, got {decay}")
        require_math_verify()
        self.system_prompt = system_prompt
        self._attempts = attempts
        self._decay = decay
        self._grades: list[Grade] = []

    async def setup(self) -> None:
        self._grades = []

    async def respond(self, message: Message) -> Sequence[Message] | None:
        self._grades.append(await self._grade(message.text))
        left = self._attempts - len(self._grades)
        if self._grades[-1].correct or left == 0:
            return None
        tries = "one more attempt" if left == 1 else f"{left} more attempts"
        return [user(f"That is not the right answer. You have {tries}.")]

    async def _grade(self, reply: str) -> Grade:
        return await grade(reply, str(self.task.answer), literal=self.literal, timeout=self.grading_seconds)

    @reward(inline=True)
    def correct(self) -> float:
        """1 for the right answer, less for each wrong one before it."""
        return self._decay ** (len(self._grades) - 1) if self._grades[-1].correct else 0.0

    async def step(self, action: Action) -> StepResult:
        result = await super().step(action)
        killed = sum(grade.killed for grade in self._grades)
        metrics = {**result.info.get("metrics", {}), "attempts": len(self._grades), "grader_killed": killed}
        return result._replace(info={**result.info, "metrics": metrics})

    def oracle(self) -> Message:
        return assistant(f"\\boxed{{{self.task.answer}}}")

    def state_key(self) -> Hashable:
        return self.task.id, tuple(grade.answer for grade in self._grades)
