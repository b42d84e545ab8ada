"""`tools/research-v0`: search a catalogue, read a page, calculate, and answer with the number and its page."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from agentenv.chat import Conversation
from agentenv.env import Action, StepResult
from agentenv.messages import Message, ToolCall, assistant
from agentenv.rewards import reward
from agentenv.tasks import ProceduralTasks, Task, TaskSet
from agentenv.tool_env import ToolEnv
from agentenv.tool_rules import ToolRules, ToolUse
from agentenv.tools import ToolError, tool
from agentenv_tools.research.catalogue import Catalogue, Page
from agentenv_tools.research.questions import Question, evaluate

INSTRUCTION = (
    "You are asked for the price or the weight of an article and one operation on it, such as: lamp price * 3. "
    "Search for the article, read its page, whose id begins with P for a price and with W for a weight, and calculate. "
    "Then answer with the number and the page it is from in brackets and nothing else, such as: 102 [P17]. Every call "
    "costs a little."
)
RULES: Mapping[str, float] = {"cost": 0.02, "budget": 0.2}
"""Three calls are enough and cost 0.06. The tenth uses up the budget."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What an episode has found out: pages that a search has listed, pages read, and results, in their order."""

    listed: frozenset[str] = frozenset()
    read: tuple[str, ...] = ()
    results: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything an episode consists of; nothing in it draws random numbers after `reset`."""

    task: Task
    seed: int
    catalogue: Catalogue
    desk: Desk
    tool_use: ToolUse
    conversation: Conversation


class Research(ToolEnv):
    """A question such as "lamp price * 3", which takes three calls: `search`, `read` and `calculator`.

    The episode's seed draws a catalogue around the question: other articles, page numbers, and what the pages
    say. An answer is right in one episode only, so there is nothing to learn by heart. A page can be read
    once a search has listed it.

    The final answer is the number and, in brackets, the page it comes from. It earns 1 when both are right, the
    page has been read and the calculator has returned the number since; a right guess earns nothing unless
    `require_tools=False`. Everything else earns 0, and every call costs what `tool_rules` says. The metric `success`
    tells right answers whatever they have cost; `calls_when_right` is there only then, so that its mean is over them.

    Args:
        require_tools: pay only for what the tools returned in this episode.
        system_prompt: sent first when it is not empty.
        tool_rules: what calls cost and how many there may be.
        seed: another seed is another stream of tasks over the same splits.

    Raises:
        ConfigError: rules that make no sense.
    """

    def __init__(
        self,
        require_tools: bool = True,
        system_prompt: str = INSTRUCTION,
        tool_rules: ToolRules | Mapping[str, Any] = RULES,
        seed: int = 0,
    ) -> None:
        super().__init__(tool_rules)
        self._require_tools = require_tools
        self._task_seed = seed
        self._desk = Desk()
        self._catalogue = Catalogue(())
        self.system_prompt = system_prompt

    def tasks(self, split: str = "train") -> TaskSet:
        return ProceduralTasks(lambda rng: Question.draw(rng).task(), split=split, seed=self._task_seed)

    async def setup(self) -> None:
        asked = self.question
        self._desk = Desk()
        self._catalogue = Catalogue.draw(self.rng, asked.item)

    async def step(self, action: Action) -> StepResult:
        result = await super().step(action)
        metrics = result.info["metrics"]
        metrics["success"] = result.terminated and result.reward is not None and result.reward > 0
        if metrics["success"]:
            metrics["calls_when_right"] = metrics["tool_calls"]
        return result

    @tool(inline=True)
    def search(self, query: str) -> str:
        """Finds pages of the catalogue and lists at most two: ids, with P for a price and W for a weight, and articles.

        Args:
            query: What to look for, such as "lamp".
        """
        found = self._catalogue.search(query)
        if not found:
            raise ToolError("Error: no page is about any of these words.")
        desk = self._desk
        self._desk = Desk(desk.listed | {page.id for page in found}, desk.read, desk.results)
        return "\n".join(page.listing for page in found)

    @tool(inline=True)
    def read(self, page: str) -> str:
        """Reads a page that a search has listed; it says a price or a weight.

        Args:
            page: The id of the page, such as "P17".
        """
        found = self._catalogue.page(page)
        desk = self._desk
        if found is None or page not in desk.listed:
            raise ToolError(f"Error: no search has listed a page {page}.")
        self._desk = Desk(desk.listed, (*desk.read, page), desk.results)
        return found.text

    @tool(inline=True)
    def calculator(self, expression: str) -> str:
        """Calculates one operation (+, - or *) on two whole numbers.

        Args:
            expression: Such as "34*3".
        """
        value = evaluate(expression)
        desk = self._desk
        # What was calculated before the page was read was not calculated from it.
        counts = self.page.id in desk.read
        self._desk = Desk(desk.listed, desk.read, (*desk.results, value) if counts else desk.results)
        return str(value)

    @reward(inline=True)
    def correct(self, completion: str) -> float:
        """1 for the number and its page and nothing else, once the tools have led to both."""
        led_there = self.answer in self._desk.results or not self._require_tools
        return float(led_there and completion.strip() == self.reply)

    @property
    def question(self) -> Question:
        """What this episode asks for."""
        return Question.of(self.task)

    @property
    def catalogue(self) -> Catalogue:
        """Where it is to be looked up."""
        return self._catalogue

    @property
    def page(self) -> Page:
        """The page that has what is asked for."""
        return self._catalogue.page_of(self.question.item, self.question.fact)

    @property
    def answer(self) -> int:
        """The right number."""
        return self.question.answer(self.page.value)

    @property
    def reply(self) -> str:
        """The right final answer."""
        return f"{self.answer} [{self.page.id}]"

    def oracle(self) -> Message:
        asked, desk, page = self.question, self._desk, self.page
        if page.id not in desk.listed:
            return self._call("search", query=asked.item)
        if page.id not in desk.read:
            return self._call("read", page=page.id)
        if self.answer not in desk.results:
            return self._call("calculator", expression=asked.expression(page.value))
        return assistant(self.reply)

    def _call(self, name: str, **arguments: str) -> Message:
        return assistant(None, ToolCall(f"call_{self.conversation.turns}", name, json.dumps(arguments)))

    def state_key(self) -> Hashable:
        return self.task.id, self.seed, self._desk

    def snapshot(self) -> Snapshot:
        return Snapshot(self.task, self.seed, self._catalogue, self._desk, self.tool_use, self.conversation)

    def restore(self, snapshot: Snapshot) -> None:
        self.begin(snapshot.task, snapshot.seed)
        self._catalogue, self._desk = snapshot.catalogue, snapshot.desk
        self.tool_use, self.conversation = snapshot.tool_use, snapshot.conversation
