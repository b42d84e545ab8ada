"""`GymnasiumText`: any registered Gymnasium environment, seen and acted on in text."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy
from gymnasium.envs.registration import load_env_creator, parse_env_id
from gymnasium.utils import seeding

from agentenv.env import Action, Info, Observation, StepResult, SyncEnv
from agentenv.errors import ConfigError, MissingExtraError, RegistryError, UnsupportedError
from agentenv.messages import Message, assistant, user
from agentenv.rewards import Component, Reward
from agentenv.tasks import Task, TaskSet
from agentenv_gym.actions import ActionText, InvalidActionError
from agentenv_gym.describe import as_text, jsonable
from agentenv_gym.oracles import blackjack_values, value_iteration

_SPLITS = ("train", "dev", "test")


class SeedTasks(TaskSet):
    """Endless tasks that differ in the seed of the starting state. No seed occurs in two splits."""

    size = None

    def __init__(self, split: str) -> None:
        if split not in _SPLITS:
            raise ConfigError(f"the splits are {', '.join(_SPLITS)}, not {split!r}")
        self._split = split

    def task(self, index: int) -> Task:
        seed = index * len(_SPLITS) + _SPLITS.index(self._split)
        return Task(f"start-{seed}", data={"seed": seed}, split=self._split)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an episode has come."""

    observation: Any = None
    steps: int = 0
    invalid: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An episode to go on from; `env` is a copy nobody plays."""

    task: Task
    seed: int
    env: gymnasium.Env[Any, Any]
    progress: Progress


class GymnasiumText(SyncEnv):
    """A Gymnasium environment whose observations are shown and whose actions are given as text.

    A reply that names no action changes nothing: the policy is told so, it costs `invalid_reward`, and it counts
    towards the turn limit and the metric `invalid_actions`. Rewards are Gymnasium's own, `terminated` and `truncated`
    (by Gymnasium's time limit) likewise.

    A task fixes the starting state; what happens by chance after it follows from the episode's own seed.

    Args:
        env_id: a registered Gymnasium id.
        actions: names of the discrete actions in their order.
        rules: what the policy is told first.
        invalid_reward: for a reply that names no action. Where steps cost something it must cost as much, or silence
            pays.
        options: passed on to `gymnasium.make`.

    Example:
        env = agentenv.make("gym/any-v0", env_id="MountainCar-v0", actions=["left", "none", "right"])
    """

    def __init__(
        self,
        env_id: str,
        actions: Sequence[str] = (),
        rules: str = "",
        invalid_reward: float = 0.0,
        **options: Any,
    ) -> None:
        self._env_id = env_id
        self._env = _make(env_id, options)
        self._actions = ActionText(self._env.action_space, actions)
        self._rules = rules or f"You play {env_id}."
        self._invalid_reward = invalid_reward
        self._options = options
        self._progress = Progress()

    def tasks(self, split: str = "train") -> TaskSet:
        return SeedTasks(split)

    def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        self.begin(task, seed)
        observation, _ = self._env.reset(seed=self.task.data.get("seed", self.seed))
        self._env.unwrapped.np_random = seeding.np_random(self.seed)[0]
        self._env.action_space.seed(self.seed)
        self._progress = Progress(observation)
        text = f"{self._rules}\n{self._actions.legend}\n\n{self._show(observation)}"
        return Observation((user(text),)), {}

    def step(self, action: Action) -> StepResult:
        try:
            chosen = self._actions.read(action.message.text)
        except InvalidActionError as error:
            self._progress = replace(self._progress, invalid=self._progress.invalid + 1)
            return self._result(str(error), self._invalid_reward, False, False, None)
        observation, reward, terminated, truncated, _ = self._env.step(chosen)
        self._progress = replace(self._progress, observation=observation, steps=self._progress.steps + 1)
        text = self._show(observation)
        return self._result(text, float(reward), bool(terminated), bool(truncated), self._actions.write(chosen))

    def close(self) -> None:
        self._env.close()

    def oracle(self) -> Message:
        """The optimal action where it can be computed: tabular environments and blackjack."""
        unwrapped = self._env.unwrapped
        if hasattr(unwrapped, "P") and hasattr(unwrapped, "s"):
            best = _best_actions(self._env_id, json.dumps(self._options, sort_keys=True))[int(unwrapped.s)]
        elif self._env_id.startswith("Blackjack"):
            hand, dealer, usable_ace = (int(part) for part in self._progress.observation)
            stick, hit = blackjack_values(hand, bool(usable_ace), dealer)
            best = int(hit > stick)
        else:
            raise UnsupportedError(f"no optimal policy is known for {self._env_id}")
        return assistant(f"action: {self._actions.write(best)}")

    def state_key(self) -> Hashable:
        return json.dumps(jsonable(self._progress.observation))

    def snapshot(self) -> Snapshot:
        return Snapshot(self.task, self.seed, self._copy(self._env), self._progress)

    def restore(self, snapshot: Snapshot) -> None:
        self.begin(snapshot.task, snapshot.seed)
        self._env = self._copy(snapshot.env)
        self._progress = snapshot.progress

    def _copy(self, env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
        try:
            return copy.deepcopy(env)
        except Exception as error:
            raise UnsupportedError(f"{self._env_id} cannot be snapshotted: copying it raised {error!r}") from error

    def _show(self, observation: Any) -> str:
        rendering = self._env.render() if self._env.render_mode == "ansi" else None
        _, name, _ = parse_env_id(self._env_id)
        return as_text(name, observation, str(rendering) if rendering is not None else None)

    def _result(self, text: str, reward: float, terminated: bool, truncated: bool, chosen: Any) -> StepResult:
        metrics = {"steps": self._progress.steps, "invalid_actions": self._progress.invalid}
        info = {"action": chosen, "metrics": metrics}
        total = Reward.of(Component("reward", reward))
        return StepResult(Observation((user(text),)), total, terminated, truncated, info)


def _make(env_id: str, options: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    """The Gymnasium environment, rendering as `ansi` where it can."""
    try:
        spec = gymnasium.spec(env_id)
        entry_point = spec.entry_point
        creator: Any = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
        metadata = getattr(creator, "metadata", None)
        modes = metadata.get("render_modes", ()) if isinstance(metadata, dict) else ()
        if "ansi" in modes:
            options = {"render_mode": "ansi", **options}
        return gymnasium.make(env_id, **options)
    except gymnasium.error.DependencyNotInstalled as error:
        raise MissingExtraError(f"{env_id} ({error})", "gym") from error
    except gymnasium.error.Error as error:
        raise RegistryError(f"Gymnasium cannot make {env_id!r}: {error}") from error


@functools.lru_cache(maxsize=64)
def _best_actions(env_id: str, options: str) -> tuple[int, ...]:
    """The optimal action of every state."""
    env: Any = _make(env_id, json.loads(options)).unwrapped
    return tuple(int(action) for action in numpy.argmax(value_iteration(env.P), axis=1))
