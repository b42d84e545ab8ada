"""`ChatEnv`: the short way to write an environment of questions, tools and verifiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentenv.env import Action, Env, Info, Observation, StepResult
from agentenv.messages import Message, ToolCall, system
from agentenv.rewards import Component, Reward, RewardFunction, reward_functions
from agentenv.tasks import Task
from agentenv.tools import ToolErrorKind, ToolOutcome, ToolSet, marked_tools


@dataclass(frozen=True, slots=True)
class Conversation:
    """What has been said in an episode, and how many turns and tool calls that took. A value: safe to keep."""

    messages: tuple[Message, ...] = ()
    turns: int = 0
    tool_calls: int = 0
    tool_errors: int = 0

    @property
    def metrics(self) -> dict[str, int]:
        return {"turns": self.turns, "tool_calls": self.tool_calls, "tool_errors": self.tool_errors}


class ChatEnv(Env):
    """A conversation about a task, with tools from `@tool` methods and a reward from `@reward` methods.

    A turn with tool calls runs them and goes on. A turn without is answered by `respond`; where that returns `None`
    (as it does unless overridden) the turn is the final answer, the reward components are scored and the episode
    terminates. Steps before the end are worth what `score_turn` says, 0 unless it is overridden.

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
        # The names are mangled so that a subclass is free to call its own attributes `_tools` or `_rewards`.
        self.__tools = ToolSet(marked_tools(self))
        self.__rewards: tuple[RewardFunction, ...] = reward_functions(self)
        self.conversation = Conversation()

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation so far, oldest first."""
        return self.conversation.messages

    @property
    def tools(self) -> ToolSet:
        """The tools offered. Override it to offer others than the `@tool` methods."""
        return self.__tools

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
        await self.setup()
        self.conversation = Conversation(self.prompt())
        return Observation(self.messages, self.tools.specs), {}

    async def step(self, action: Action) -> StepResult:
        message = action.message
        self.__extend((message,), turns=1)
        if message.tool_calls and len(self.tools):
            outcomes = await self.call_tools(message.tool_calls)
            errors = sum(outcome.error is not None for outcome in outcomes)
            answers = tuple(outcome.message for outcome in outcomes)
            self.__extend(answers, tool_calls=len(outcomes), tool_errors=errors)
            info = {"metrics": self.conversation.metrics, "tools": [_tool_info(outcome) for outcome in outcomes]}
            reward = await self.score_turn(message)
            return StepResult(Observation(answers, self.tools.specs), reward, False, False, info)
        answer = await self.respond(message)
        info = {"metrics": self.conversation.metrics}
        if answer is None:
            return StepResult(Observation((), self.tools.specs), await self.score(), True, False, info)
        self.__extend(tuple(answer))
        reward = await self.score_turn(message)
        return StepResult(Observation(tuple(answer), self.tools.specs), reward, False, False, info)

    async def call_tools(self, calls: Sequence[ToolCall]) -> list[ToolOutcome]:
        """Makes the calls of a turn; one outcome each, in their order."""
        return await self.tools.call_all(calls)

    async def score_turn(self, message: Message) -> Reward | None:
        """The reward of a turn after which the episode goes on; what it led to is in `messages` already."""
        return Reward.of()

    async def score(self) -> Reward | None:
        """Every reward component of the conversation so far.

        `None` as soon as one of them is not scored, and where the environment has no reward at all: nothing to pay for
        is not the same as having earned nothing.
        """
        if not self.__rewards:
            return None
        last = self.messages[-1]
        offered = {
            "task": self.task,
            "answer": self.task.answer,
            "completion": last.text,
            "message": last,
            "messages": self.messages,
            **self.conversation.metrics,
        }
        components: list[Component] = []
        for function in self.__rewards:
            component = await function.score(offered, type(self).__name__)
            if component is None:
                return None
            components.append(component)
        return Reward.of(*components)

    def __extend(
        self, messages: tuple[Message, ...], *, turns: int = 0, tool_calls: int = 0, tool_errors: int = 0
    ) -> None:
        so_far = self.conversation
        self.conversation = Conversation(
            so_far.messages + messages,
            so_far.turns + turns,
            so_far.tool_calls + tool_calls,
            so_far.tool_errors + tool_errors,
        )


def _tool_info(outcome: ToolOutcome) -> dict[str, str | float | None]:
    error: ToolErrorKind | None = outcome.error
    return {"name": outcome.call.name, "error": error.value if error else None, "seconds": outcome.seconds}
