"""`ChatEnv`: the short way to write an environment of questions, tools and verifiers."""

from __future__ import annotations

from collections.abc import Sequence

from agentenv.env import Action, Env, Info, Observation, StepResult
from agentenv.messages import Message, system
from agentenv.rewards import Component, Reward, RewardFunction, reward_functions
from agentenv.tasks import Task
from agentenv.tools import ToolErrorKind, ToolOutcome, ToolSet, marked_tools


class ChatEnv(Env):
    """A conversation about a task, with tools from `@tool` methods and a reward from `@reward` methods.

    A turn with tool calls runs them and goes on. A turn without is answered by `respond`; where that returns `None`
    (as it does unless overridden) the turn is the final answer, the reward components are scored and the episode
    terminates. Steps before the end are worth 0.

    Example:
        class Riddles(ChatEnv):
            system_prompt = "Answer with one word."

            def tasks(self, split="train"):
                return ListTasks([Task.ask("egg", "What breaks before you use it?", answer="egg")])

            @reward
            def correct(self, completion, answer):
                return float(completion.strip().lower() == answer)

            def oracle(self):
                return assistant(self.task.answer)
    """

    system_prompt: str = ""

    def __init__(self) -> None:
        self._tools = ToolSet(marked_tools(self))
        self._rewards: tuple[RewardFunction, ...] = reward_functions(self)
        self._messages: list[Message] = []
        self._turns = 0
        self._tool_calls = 0
        self._tool_errors = 0

    @property
    def messages(self) -> Sequence[Message]:
        """The conversation so far, oldest first."""
        return tuple(self._messages)

    @property
    def tools(self) -> ToolSet:
        """The tools offered. Override it to offer others than the `@tool` methods."""
        return self._tools

    async def setup(self) -> None:
        """Prepares the state of an episode; `self.task` and `self.rng` are ready. Override where there is state."""

    def prompt(self) -> tuple[Message, ...]:
        """The opening messages: the system prompt and the task's own."""
        head = (system(self.system_prompt),) if self.system_prompt else ()
        return head + self.task.prompt

    async def respond(self, message: Message) -> Sequence[Message] | None:
        """The environment's answer to a turn without tool calls, or `None` when that turn was the final answer."""
        return None

    async def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        self.begin(task, seed)
        self._turns = self._tool_calls = self._tool_errors = 0
        await self.setup()
        self._messages = list(self.prompt())
        return Observation(tuple(self._messages), self.tools.specs), {}

    async def step(self, action: Action) -> StepResult:
        message = action.message
        self._messages.append(message)
        self._turns += 1
        if message.tool_calls and len(self.tools):
            outcomes = await self.tools.call_all(message.tool_calls)
            self._count(outcomes)
            info = {"metrics": self._metrics(), "tools": [_tool_info(outcome) for outcome in outcomes]}
            return self._continue([outcome.message for outcome in outcomes], info)
        answer = await self.respond(message)
        info = {"metrics": self._metrics()}
        if answer is not None:
            return self._continue(answer, info)
        return StepResult(Observation((), self.tools.specs), await self.score(), True, False, info)

    async def score(self) -> Reward | None:
        """Every reward component of the conversation so far; `None` as soon as one of them is not scored."""
        last = self._messages[-1]
        offered = {
            "task": self.task,
            "answer": self.task.answer,
            "completion": last.text,
            "message": last,
            "messages": self.messages,
            "turns": self._turns,
            "tool_calls": self._tool_calls,
            "tool_errors": self._tool_errors,
        }
        components: list[Component] = []
        for function in self._rewards:
            component = await function.score(offered, type(self).__name__)
            if component is None:
                return None
            components.append(component)
        return Reward.of(*components)

    def _continue(self, messages: Sequence[Message], info: Info) -> StepResult:
        self._messages.extend(messages)
        return StepResult(Observation(tuple(messages), self.tools.specs), Reward.of(), False, False, info)

    def _metrics(self) -> dict[str, int]:
        return {"turns": self._turns, "tool_calls": self._tool_calls, "tool_errors": self._tool_errors}

    def _count(self, outcomes: Sequence[ToolOutcome]) -> None:
        self._tool_calls += len(outcomes)
        self._tool_errors += sum(outcome.error is not None for outcome in outcomes)


def _tool_info(outcome: ToolOutcome) -> dict[str, str | float | None]:
    error: ToolErrorKind | None = outcome.error
    return {"name": outcome.call.name, "error": error.value if error else None, "seconds": outcome.seconds}
