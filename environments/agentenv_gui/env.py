"""`GuiEnv`: a graphical surface and a dialect, as an environment. What is acted upon, and what for, a subclass says."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agentenv.env import Action, Env, Info, Observation, StepResult
from agentenv.errors import ConfigError
from agentenv.messages import ToolCall, system, tool_result, user
from agentenv.rewards import Component, Reward, as_reward
from agentenv.tasks import Task
from agentenv.tool_rules import ToolRules, ToolUse
from agentenv.tools import Content, ToolErrorKind, ToolOutcome, ToolSpec
from agentenv_gui.actions import Action as GuiAction
from agentenv_gui.actions import Finish, Zoom
from agentenv_gui.codecs import Dialect, DialectError, dialect
from agentenv_gui.codecs.space import PIXELS
from agentenv_gui.render import content_of
from agentenv_gui.seen import Seen, Wants
from agentenv_gui.surface import ActionError, Surface

TEXT_ONLY = Wants(screenshot=False)
_REFUSED: ToolErrorKind | None = ToolErrorKind.REFUSED
_OVER = "Not carried out: the task is over."
_FAILED = "Not carried out: what comes before it was not."


class _Made(NamedTuple):
    """What has come of a call: what is said about it, what was wrong, and how long it took."""

    text: str
    error: ToolErrorKind | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an episode that is over has come to.

    Attributes:
        reward: of its last step; `None` is not scored. metrics: of the episode.
    """

    reward: Reward | float | None
    metrics: Mapping[str, float] = field(default_factory=dict)


class GuiEnv(Env):
    """A task on a graphical surface. A turn is a message with calls of the dialect's tools; one without ends it.

    The calls of a turn and the actions of a call are carried out in their order, up to the first that cannot be: that
    is an observation, and the rest is left out. What there is to see comes with the last call's result.

    Args:
        dialect: the words for actions, one of `agentenv_gui.codecs.DIALECTS`. space: the units of its places.
        see: what is observed: `Wants`, or a mapping with those of its attributes that differ from a text's reader's.
        system_prompt: sent first when it is not empty.
        tool_rules: what calls cost and how many there may be.

    Raises:
        ConfigError: something of that makes no sense.
    """

    def __init__(
        self,
        *,
        dialect: str = "elements",
        space: str = PIXELS,
        see: Wants | Mapping[str, Any] = TEXT_ONLY,
        system_prompt: str = "",
        tool_rules: ToolRules | Mapping[str, Any] | str | None = None,
    ) -> None:
        self.wants = _wants(see)
        self.tool_rules = ToolRules.of(tool_rules)
        self.system_prompt = system_prompt
        self.tool_use = ToolUse()
        self._spoken = dialect, space
        self._dialect: Dialect | None = None
        self._surface: Surface | None = None
        self._seen = Seen()
        self._zoom: Zoom | None = None
        self._verdict: Verdict | None = None
        self._turns = self._actions = self._action_errors = 0

    @abstractmethod
    async def open(self) -> tuple[Surface, str]:
        """A surface on which the task of the episode can begin, and what the policy is asked to do.

        What an earlier episode has held is given back before.
        """

    @abstractmethod
    async def verdict(self, finish: Finish | None) -> Verdict | None:
        """What the episode has come to, if it is over. Called after each action.

        Args:
            finish: what the policy says of the task, where it ends the episode itself; then it is over.
        """

    async def release(self) -> None:
        """Gives back what the episode holds. Called before the next one and in the end; also where there is nothing."""

    @property
    def surface(self) -> Surface:
        """What is acted upon in this episode."""
        if self._surface is None:
            raise ConfigError(f"{type(self).__name__}: no episode yet; call reset() first")
        return self._surface

    @property
    def dialect(self) -> Dialect:
        """The words for actions on it."""
        if self._dialect is None or self._dialect.space.surface != self.surface.size:
            self._dialect = dialect(self._spoken[0], self.surface.size, self._spoken[1])
        return self._dialect

    @property
    def turns(self) -> int:
        """How many the episode has had."""
        return self._turns

    @property
    def seen(self) -> Seen:
        """What was seen last."""
        return self._seen

    @property
    def all_tools(self) -> tuple[ToolSpec, ...]:
        """The tools there are: the dialect's. An environment with others adds them, and answers their calls."""
        return self.dialect.tools

    @property
    def tools(self) -> tuple[ToolSpec, ...]:
        """What the policy is offered."""
        return tuple(tool for tool in self.all_tools if tool.name not in self.tool_rules.without)

    async def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        self.begin(task, seed)
        await self.release()
        self._surface = None
        self._surface, asked = await self.open()
        self.tool_rules.check([tool.name for tool in self.all_tools])
        self.tool_use = ToolUse()
        self._zoom = self._verdict = None
        self._turns = self._actions = self._action_errors = 0
        await self._look()
        head = (system(self.system_prompt),) if self.system_prompt else ()
        return Observation((*head, user(content_of(self._seen, self.wants, asked))), self.tools), {}

    async def step(self, action: Action) -> StepResult:
        self._turns += 1
        outcomes: list[ToolOutcome] = []
        if calls := action.message.tool_calls:
            outcomes = await self._called(calls)
        else:
            self._verdict = await self.verdict(Finish(text=action.message.text))
        before = self.tool_use.cost
        self.tool_use = self.tool_use.after(outcomes, self.tool_rules)
        verdict = self._verdict
        reward = self._reward(Reward.of() if verdict is None else verdict.reward, self.tool_use.cost - before)
        stop = None if verdict is not None else self.tool_use.exceeded(self.tool_rules)
        info = {
            "metrics": self._metrics(),
            "tools": [
                {"name": one.call.name, "error": one.error and one.error.value, "seconds": one.seconds}
                for one in outcomes
            ],
        }
        if stop is not None:
            info["stop_reason"] = stop.value
        observation = Observation(tuple(outcome.message for outcome in outcomes), self.tools)
        return StepResult(observation, reward, verdict is not None, stop is not None, info)

    async def close(self) -> None:
        await self.release()
        self._surface = None

    async def _called(self, calls: Sequence[ToolCall]) -> list[ToolOutcome]:
        """Carries out the calls of a turn; the last result is what there is to see then."""
        made: list[_Made] = []
        for call in calls:
            began = time.perf_counter()
            if self._verdict is not None:
                text, kind = _OVER, _REFUSED
            elif made and made[-1].error is not None:
                text, kind = _FAILED, _REFUSED
            else:
                text, kind = await self._call(call)
            made.append(_Made(text, kind, time.perf_counter() - began))
        contents: list[Content] = [one.text or "Done." for one in made]
        if self._verdict is None:
            await self._look()
            contents[-1] = content_of(self._seen, self.wants, made[-1].text) or "Done."
        return [
            ToolOutcome(call, tool_result(call.id, content, call.name), one.error, one.seconds)
            for call, content, one in zip(calls, contents, made, strict=True)
        ]

    async def _call(self, call: ToolCall) -> tuple[str, ToolErrorKind | None]:
        """Carries out a call. Returns what went wrong, in words and as it is counted."""
        if call.name in self.tool_rules.without:
            return f"Error: there is no tool {call.name!r}.", ToolErrorKind.UNKNOWN_TOOL
        try:
            actions = self.dialect.decode(call)
        except DialectError as problem:
            return f"Error: {problem}", problem.kind
        for index, action in enumerate(actions):
            try:
                await self._carry_out(action)
            except ActionError as problem:
                self._action_errors += 1
                where = f"action {index + 1} of {len(actions)}: " if len(actions) > 1 else ""
                return (f"Error: {where}{problem}" if self.wants.error else "Error"), ToolErrorKind.RAISED
            if self._verdict is not None:
                break
        return "", None

    async def _carry_out(self, action: GuiAction) -> None:
        self._actions += 1
        self._zoom = action if isinstance(action, Zoom) else None
        if not isinstance(action, Zoom | Finish):
            await self.surface.act(action)
        self._verdict = await self.verdict(action if isinstance(action, Finish) else None)

    async def _look(self) -> None:
        self._seen = await self.surface.see(self.wants, self._zoom)

    def _reward(self, earned: Reward | float | None, cost: float) -> Reward | None:
        reward = as_reward(earned, type(self).__name__)
        if reward is None or not cost:
            return reward
        return Reward.of(*reward.components, Component("tool_cost", cost, -1.0))

    def _metrics(self) -> dict[str, float]:
        counted = {"turns": self._turns, "actions": self._actions, "action_errors": self._action_errors}
        return {**counted, **self.tool_use.metrics, **(self._verdict.metrics if self._verdict else {})}


def _wants(given: Wants | Mapping[str, Any]) -> Wants:
    if isinstance(given, Wants):
        return given
    usual = {name: getattr(TEXT_ONLY, name) for name in TEXT_ONLY.__dataclass_fields__}
    for name, value in given.items():
        if name not in usual:
            raise ConfigError(f"see: there is nothing called {name!r} to see; there are {', '.join(usual)}")
        if not isinstance(value, bool):
            raise ConfigError(f"see: {name} is true or false, not {value!r}")
    return Wants(**{**usual, **given})
