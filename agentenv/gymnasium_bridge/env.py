"""`GymnasiumBridge`: an agentenv environment that is played with text, synchronously."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium

from agentenv.env import Action, Env, Info, Observation, SyncEnv
from agentenv.errors import ConfigError, EnvironmentFailure, UnscoredRewardError, nearest
from agentenv.gymnasium_bridge.loop import LOOP
from agentenv.gymnasium_bridge.text import UnicodeText, parse_action, render_observation
from agentenv.registry import make
from agentenv.rewards import Reward, as_reward
from agentenv.tasks import Task
from agentenv.tools import ToolSpec
from agentenv.wrappers import as_async

_OPTIONS = ("task", "split")


class GymnasiumBridge(gymnasium.Env[str, str]):
    """An agentenv environment as a `gymnasium.Env`.

    An action is a text, read by `parse_action` as one assistant message; an observation is the text of the messages
    that are new, `""` at the end of most episodes. `info` holds `messages` and `tools` in OpenAI's wire format,
    `components` (the reward's parts by name), `task` (its id), `seed`, and the environment's own diagnostics under
    `env`. The turn limit of the environment's specification applies, as `truncated`.

    The environment runs on an event loop of its own thread, so this works in scripts, threads and notebooks alike.

    Args:
        environment: an id, a `file.py:Class`, or an environment.
        split: where `reset` takes tasks from.
        render_mode: `None`, or `"ansi"`: `render()` gives the conversation so far.
        max_action_length, max_observation_length: characters; the bounds of the two spaces.
        call_seconds: how long one reset, step or close may take.
        kwargs: passed on to `agentenv.make`.

    Example:
        env = GymnasiumBridge("calculator-v0", level=1)
        text, info = env.reset(seed=7, options={"split": "test"})
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012  # Gymnasium's contract

    def __init__(
        self,
        environment: str | Env | SyncEnv,
        *,
        split: str = "train",
        render_mode: str | None = None,
        max_action_length: int = 65_536,
        max_observation_length: int = 1_048_576,
        call_seconds: float = 600.0,
        **kwargs: Any,
    ) -> None:
        if render_mode not in (None, "ansi"):
            raise ConfigError(f"render_mode must be None or 'ansi', got {render_mode!r}")
        self._env = make(environment, **kwargs) if isinstance(environment, str) else as_async(environment)
        self._name = environment if isinstance(environment, str) else type(environment).__name__
        self._split = split
        self._call_seconds = call_seconds
        self._tools: tuple[ToolSpec, ...] = ()
        self._transcript: list[str] = []
        self._turn = 0
        self._closed = False
        self._max_observation_length = max_observation_length
        self.render_mode = render_mode
        self.action_space = UnicodeText(max_action_length)
        self.observation_space = UnicodeText(max_observation_length)

    @property
    def environment(self) -> Env:
        """The agentenv environment inside."""
        return self._env

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Starts an episode.

        Args:
            seed: the episode's seed, the same as in agentenv. Later resets without one follow from it.
            options: `task`, a `Task` or the JSON of one, or `split`, to take the task from another split.
        """
        super().reset(seed=seed)
        episode_seed = int(self.np_random.integers(2**31)) if seed is None else seed
        task = self._chosen_task(options or {}, episode_seed)
        observation, info = LOOP.run(
            self._env.reset(task=task, seed=episode_seed), self._call_seconds, f"{self._name}.reset"
        )
        self._turn = 0
        self._transcript = []
        self._tools = ()
        return self._show(observation), self._info(observation, info, None)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Sends one assistant message.

        Raises:
            UnscoredRewardError: the environment did not score the step (`reward` is `None`), which Gymnasium cannot
                express.
        """
        if not isinstance(action, str):
            raise ConfigError(f"an action is a text (one assistant message), not a {type(action).__name__}")
        message = parse_action(action, f"call_{self._turn}")
        self._turn += 1
        self._transcript.append(f"[assistant]\n{action}")
        result = LOOP.run(self._env.step(Action(message)), self._call_seconds, f"{self._name}.step")
        reward = as_reward(result.reward, self._name)
        if reward is None:
            raise UnscoredRewardError(
                f"{self._name} left this step unscored; Gymnasium needs a number. Play it through agentenv instead, "
                "where such an episode is recorded without a reward."
            )
        observation = self._show(result.observation)
        info = self._info(result.observation, result.info, reward)
        return observation, float(reward), bool(result.terminated), bool(result.truncated), info

    def render(self) -> str | None:
        """The conversation so far, in render mode `ansi`."""
        return "\n\n".join(self._transcript) if self.render_mode == "ansi" else None

    def close(self) -> None:
        """Closes the environment; further calls do nothing."""
        if not self._closed:
            self._closed = True
            LOOP.run(self._env.close(), self._call_seconds, f"{self._name}.close")

    def _chosen_task(self, options: Mapping[str, Any], seed: int) -> Task | None:
        for option in options:
            if option not in _OPTIONS:
                raise ConfigError(f"reset has no option {option!r}.{nearest(option, _OPTIONS)}")
        task = options.get("task")
        if isinstance(task, str):
            return Task.from_json(task)
        if task is None and (split := options.get("split", self._split)) != "train":
            return next(iter(self._env.tasks(split).shuffle(seed)))
        if task is not None and not isinstance(task, Task):
            raise ConfigError(f"the option 'task' is a Task or the JSON of one, not a {type(task).__name__}")
        return task

    def _show(self, observation: Observation) -> str:
        text = render_observation(observation, self._tools)
        if len(text) > self._max_observation_length:
            raise EnvironmentFailure(
                f"{self._name}: an observation of {len(text)} characters; raise max_observation_length "
                f"(now {self._max_observation_length})"
            )
        self._tools = observation.tools
        if text:
            self._transcript.append(text)
        return text

    def _info(self, observation: Observation, info: Info, reward: Reward | None) -> dict[str, Any]:
        """Fresh objects at every call: Gymnasium's users may change what they are given."""
        return {
            "task": self._env.task.id,
            "seed": self._env.seed,
            "messages": copy.deepcopy([message.to_wire() for message in observation.messages]),
            "tools": _wire_tools(observation.tools),
            "components": {part.name: part.value for part in reward.components} if reward is not None else {},
            "env": copy.deepcopy(dict(info)),
        }


def _wire_tools(tools: Sequence[ToolSpec]) -> list[dict[str, Any]]:
    return copy.deepcopy([tool.to_wire() for tool in tools])
