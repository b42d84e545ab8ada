"""One reasoning-gym dataset as a single-turn environment."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pydantic

from agentenv.chat import ChatEnv
from agentenv.env import Action, Info, Observation, StepResult
from agentenv.errors import EnvironmentFailure, UnsupportedError
from agentenv.messages import Message, assistant, user
from agentenv.processes import preload, run_isolated
from agentenv.rewards import reward
from agentenv.tasks import ProceduralTasks, Task, TaskSet
from agentenv.threads import THREADS
from agentenv_reasoning_gym.items import USES_GLOBAL_RNG, Item, items_of, score_entry

_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
SCORING_SECONDS = 20.0

preload("reasoning_gym", "agentenv_reasoning_gym.items")


class ReasoningGymEnv(ChatEnv):
    """A question, an answer between `<answer>` tags, and the dataset's own verifier.

    What the verifier returns is the reward, unchanged; one that raises or hangs is a `VerifierError`, never a zero.
    Some verifiers evaluate answers as Python. Those are shown only answers that cannot do anything (see `guard`); the
    others score 0 and count in the metric `refused_answer`. All answers are scored in a process of their own, which
    contains hangs and crashes.

    Args:
        dataset: the dataset's name.
        config: the dataset's options, for example `min_terms=3`; `seed` gives other problems, `size` says how many.
    """

    system_prompt = (
        "Answer the question. You may think first; then give the final answer alone between <answer> and </answer>."
    )

    def __init__(self, dataset: str, **config: pydantic.JsonValue) -> None:
        super().__init__()
        self._config = config
        self._items = items_of(dataset, config)
        self._refused = False

    def tasks(self, split: str = "train") -> TaskSet:
        """Endless; which split a problem belongs to is decided by its question, so that splits never overlap."""
        seed = self._config.get("seed") or 0
        return _WithAnswers(ProceduralTasks(self._draw, split=split, seed=int(str(seed))))

    async def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        # Inventing a problem can take a second, so both the drawing of a task and the rebuilding leave the loop.
        await THREADS.run(lambda: self.begin(task, seed))
        item = await THREADS.run(self._own_item)
        if item.question != self.task.question:
            raise EnvironmentFailure(
                f"task {self.task.id} is not item {item.number} of {self._items.name} as configured here; "
                "it was made with other options or another version of reasoning-gym"
            )
        self._refused = False
        observation, info = await super().reset(task=self.task, seed=self.seed)
        if self._items.name in USES_GLOBAL_RNG:
            info = {**info, "contained": "the dataset's generator uses the global random state; it was isolated"}
        return observation, info

    async def step(self, action: Action) -> StepResult:
        result = await super().step(action)
        metrics = {**result.info["metrics"], "refused_answer": int(self._refused)}
        return result._replace(info={**result.info, "metrics": metrics})

    @reward
    async def correct(self, completion: str) -> Any:
        found = _ANSWER.findall(completion)
        answer = found[-1].strip() if found else None
        config = json.dumps(self._config, sort_keys=True)
        entry = self._own_item().entry
        score = await run_isolated(score_entry, self._items.name, config, entry, answer, timeout=SCORING_SECONDS)
        self._refused = score.refused
        return score.value

    def oracle(self) -> Message:
        answer = self._own_item().example
        if answer is None:
            raise UnsupportedError(f"reasoning-gym's {self._items.name} comes without an example of a right answer")
        return assistant(f"<answer>{answer}</answer>")

    def _draw(self, rng: random.Random) -> Task:
        item = self._items.item(rng.randrange(self._items.size))
        return Task("", (user(item.question),), None, {"item": item.number, "example": item.example})

    def _number(self) -> int:
        number = self.task.data.get("item")
        if not isinstance(number, int) or not 0 <= number < self._items.size:
            raise EnvironmentFailure(f"task {self.task.id} names no item of {self._items.name}; take it from tasks()")
        return number

    def _own_item(self) -> Item:
        return self._items.item(self._number())


class _WithAnswers(TaskSet):
    """Moves the example to `answer` once the split is decided: many questions have several right answers, and the
    same question must not land in two splits because another answer was drawn for it."""

    def __init__(self, source: TaskSet) -> None:
        self._source = source
        self.size = source.size

    def task(self, index: int) -> Task:
        row = self._source.task(index)
        return Task(row.id, row.prompt, row.data["example"], {"item": row.data["item"]}, row.split)
