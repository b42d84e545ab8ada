"""A customer played by a policy: a model behind any OpenAI-compatible URL, or a person at the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from agentenv.clock import deadline
from agentenv.errors import BoundaryError, EnvironmentFailure
from agentenv.messages import Message, Role, assistant, system, user
from agentenv.policy import Completion, Policy, Sampling, Session
from agentenv.policy.registry import make_policy
from agentenv.resources import current
from agentenv_tau2.rows import Scenario
from agentenv_tau2.users.contract import SimulatedUser, Utterance
from agentenv_tau2.users.guidelines import GREETING, system_prompt
from agentenv_tau2.world import Toolbox

MAX_CALLS = 10
"""Completions with tool calls that a customer may make before it has to say something."""
SILENCE = "(The agent says nothing.)"


class BorrowedPolicy:
    """A policy by its name, shared with the episodes that are played together, and opened when first needed.

    An environment keeps one for its lifetime and closes it in its own `close`. The policy is closed with it only where
    nobody has opened `Resources` to share it in.

    Args:
        name: as `--policy` takes it, such as `openai:http://127.0.0.1:8000/v1`. options: what `make_policy` passes on;
            they are part of what is shared.
    """

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self.name = name
        self._options = dict(options)
        self._held = AsyncExitStack()
        self._policy: Policy | None = None

    async def policy(self) -> Policy:
        """The policy, open.

        Raises:
            EnvironmentFailure: it cannot be opened. ConfigError, RegistryError: there is none of that name.
        """
        if self._policy is None:
            resources = current()
            try:
                if resources is None:
                    self._policy = await self._held.enter_async_context(self._make())
                else:
                    key = ("policies", self.name, repr(sorted(self._options.items())))
                    self._policy = await resources.get(key, self._make)
            except BoundaryError as problem:
                raise EnvironmentFailure(f"the simulated user {self.name} cannot be opened: {problem}") from problem
        return self._policy

    def _make(self) -> Policy:
        return make_policy(self.name, **self._options)

    async def close(self) -> None:
        """Closes what is its own. Twice is fine; afterwards it can be used again."""
        held, self._held, self._policy = self._held, AsyncExitStack(), None
        await held.aclose()


class ModelledUser(SimulatedUser):
    """The customer of one episode, played by a policy to which the agent's words are a user's.

    Args:
        tools: the customer's own.
        past: what was said to the customer, and by it, before the episode.
        session: the episode, to the policy. timeout: of one completion, in seconds.
    """

    def __init__(
        self,
        policy: Policy,
        scenario: Scenario,
        tools: Toolbox,
        *,
        past: Sequence[Message] = (),
        sampling: Sampling,
        session: Session,
        timeout: float,
    ) -> None:
        self._policy = policy
        self._tools = tools.tools
        self._sampling, self._session, self._timeout = sampling, session, timeout
        prompt = system(system_prompt(scenario, with_tools=len(self._tools) > 0))
        self._messages: tuple[Message, ...] = (prompt, *_flipped(past))

    async def open(self) -> Utterance:
        last = self._messages[-1]
        greeting = () if last.role is Role.USER else (user(GREETING),)
        said = await self._say(*greeting)
        if not said.text:
            raise EnvironmentFailure(f"the simulated user {self._policy.name} ended before it had said anything")
        return said

    async def answer(self, said: str) -> Utterance:
        return await self._say(user(said.strip() or SILENCE))

    def state(self) -> Any:
        return self._messages

    def take(self, state: Any) -> None:
        self._messages = state

    async def _say(self, *heard: Message) -> Utterance:
        messages = self._messages + heard
        for _ in range(MAX_CALLS + 1):
            message = (await self._complete(messages)).message
            messages += (message,)
            if message.tool_calls and len(self._tools):
                messages += tuple(outcome.message for outcome in await self._tools.call_all(message.tool_calls))
                continue
            said = Utterance.read(message.text)
            if not said.text and said.stop is None:
                raise EnvironmentFailure(f"the simulated user {self._policy.name} said nothing")
            self._messages = messages
            return said
        raise EnvironmentFailure(f"the simulated user {self._policy.name} only calls tools: {MAX_CALLS + 1} times")

    async def _complete(self, messages: tuple[Message, ...]) -> Completion:
        """One completion. Whatever fails is the environment's failure: the agent's own model has done nothing."""
        try:
            async with deadline(self._timeout) as limit:
                return await self._policy.complete(messages, self._tools.specs, self._sampling, self._session)
        except BoundaryError as problem:
            raise EnvironmentFailure(f"the simulated user {self._policy.name} failed: {problem}") from problem
        except TimeoutError as problem:
            if not limit.expired():
                raise
            late = f"the simulated user {self._policy.name} gave no answer in {self._timeout:g} s"
            raise EnvironmentFailure(late) from problem


def _flipped(past: Sequence[Message]) -> tuple[Message, ...]:
    """What was said, as the customer's model sees it: its own words as an assistant's. Tools are not its business."""
    spoken = [message for message in past if message.text and message.role in (Role.USER, Role.ASSISTANT)]
    return tuple(assistant(one.text) if one.role is Role.USER else user(one.text) for one in spoken)
