"""`tools/search-v0`: questions whose answer stands in documents, to be given with its sources."""

from __future__ import annotations

import functools
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from agentenv.errors import ConfigError
from agentenv.rewards import reward
from agentenv.tasks import ListTasks, Task, TaskSet, content_hash
from agentenv.tool_rules import ToolRules
from agentenv_tools.briefs import Brief, Call
from agentenv_tools.env import SYSTEM_PROMPT, Verdict, WorldEnv
from agentenv_tools.reports import Report, citation_score
from agentenv_tools.sources import split_of
from agentenv_tools.world import Worlds
from agentenv_tools.worlds import SearchWorld
from agentenv_tools.worlds.corpus import read_lines
from agentenv_tools.worlds.library import Library, own_library

SEARCH_PROMPT = (
    f"{SYSTEM_PROMPT} Under it put the line SOURCES: with the ids of the documents that say so, and of no others."
)
_EXPECTED = '{"question": "…", "answer": "…", "sources": ["doc-1"], "split": "train"}, one object a line'


class SearchErrands(WorldEnv):
    """Questions about an invented country, or about documents of yours.

    Two components make the reward, half of it each. `answer` is 1 for the right answer. `citations` says how well the
    cited documents are those that hold it, as the harmonic mean of precision and recall; a document that no tool has
    shown in this episode is a wrong one.

    Args:
        corpus: a file of documents, one JSON object with `id`, `title` and `text` a line; by default our own.
        questions: a file of questions about them, one JSON object with `question`, `answer`, `sources` and perhaps
            `split` a line. Without a `split` a question belongs to the one that its text hashes to.
        tool_rules, characters, system_prompt, seed: as for every `WorldEnv`.

    Raises:
        ConfigError: only one of `corpus` and `questions` is given.
    """

    worlds: ClassVar[tuple[str, ...]] = (SearchWorld.name,)

    def __init__(
        self,
        tool_rules: ToolRules | Mapping[str, Any] | None = None,
        corpus: str | None = None,
        questions: str | None = None,
        characters: int = 4_000,
        system_prompt: str = SEARCH_PROMPT,
        seed: int = 0,
    ) -> None:
        super().__init__(tool_rules, characters, system_prompt, seed)
        if (corpus is None) != (questions is None):
            raise ConfigError("corpus and questions go together: documents, and questions about them")
        self._corpus, self._questions = corpus, questions
        self._cited: frozenset[str] = frozenset()

    def world_options(self) -> Mapping[str, Mapping[str, Any]]:
        return {SearchWorld.name: {"corpus": self._corpus}}

    def tasks(self, split: str = "train") -> TaskSet:
        if self._questions is None:
            return super().tasks(split)
        changed = Path(self._questions).expanduser()
        rows = _read(self._questions, changed.stat().st_mtime_ns if changed.is_file() else 0)
        return ListTasks([row for row in rows if row.split == split])

    def draw(self, rng: random.Random, worlds: Worlds) -> Brief | None:
        return rng.choice((_project, _length, _founder, _seat, _larger, _older))(rng, own_library())

    async def judge(self, report: Report) -> Verdict:
        self._cited = report.sources
        return await super().judge(report)

    @reward(inline=True, weight=0.5)
    def answer(self) -> float:
        """1 for the right answer."""
        return float(self.verdict is not None and self.verdict.answered)

    @reward(inline=True, weight=0.5)
    def citations(self) -> float:
        """How well the cited documents are those that hold the answer."""
        seen = self.here.of(SearchWorld).seen
        cited = frozenset(id if id in seen else f"never seen: {id}" for id in self._cited)
        return citation_score(cited, frozenset(self.brief.sources))

    def report(self, brief: Brief) -> str:
        return f"ANSWER: {brief.answer}\nSOURCES: {', '.join(brief.sources)}"


def _asked(kind: str, question: str, searches: tuple[str, ...], sources: tuple[str, ...], answer: str | int) -> Brief:
    """A question that is answered by looking for all things at once, and reading what was found."""
    found = tuple(Call("search_documents", {"query": query}) for query in searches)
    read = tuple(Call("read_document", {"id": id}) for id in sources)
    return Brief(kind, question, (found, read), answer, sources)


def _project(rng: random.Random, library: Library) -> Brief:
    project = rng.choice(library.projects)
    sources = (project.document,)
    if rng.random() < 0.5:
        return _asked("fact", f"Who leads the project {project.name}?", (project.name,), sources, project.lead)
    question = f"What is the budget of the project {project.name}?"
    return _asked("fact", question, (project.name,), sources, project.budget)


def _length(rng: random.Random, library: Library) -> Brief:
    bridge = rng.choice(library.bridges)
    sources = (bridge.document,)
    if rng.random() < 0.5:
        question = f"How long is the {bridge.name}, in metres?"
        return _asked("fact", question, (bridge.name,), sources, bridge.metres)
    question = f"In which year was the {bridge.name} opened?"
    return _asked("fact", question, (bridge.name,), sources, bridge.opened)


def _founder(rng: random.Random, library: Library) -> Brief:
    bridge = rng.choice(library.bridges)
    company = bridge.builder
    return Brief(
        "chain",
        f"Who founded the company that built the {bridge.name}?",
        _chained((bridge.name, bridge.document), (company.name, company.document)),
        company.founder,
        (bridge.document, company.document),
    )


def _seat(rng: random.Random, library: Library) -> Brief:
    bridge = rng.choice(library.bridges)
    company = bridge.builder
    town = company.seat
    return Brief(
        "chain",
        f"In which year was the town founded in which the company has its seat that built the {bridge.name}?",
        _chained((bridge.name, bridge.document), (company.name, company.document), (town.name, town.document)),
        town.founded,
        (bridge.document, company.document, town.document),
    )


def _chained(*steps: tuple[str, str]) -> tuple[tuple[Call, ...], ...]:
    """Looks for one thing after the other, since the name of each stands in the document before."""
    return tuple(
        turn
        for name, document in steps
        for turn in ((Call("search_documents", {"query": name}),), (Call("read_document", {"id": document}),))
    )


def _larger(rng: random.Random, library: Library) -> Brief | None:
    one, other = rng.sample(library.towns, 2)
    if one.people == other.people:
        return None
    return _asked(
        "comparison",
        f"How many people more live in the larger of the towns {one.name} and {other.name} than in the smaller?",
        (one.name, other.name),
        (one.document, other.document),
        abs(one.people - other.people),
    )


def _older(rng: random.Random, library: Library) -> Brief | None:
    one, other = rng.sample(library.bridges, 2)
    if one.opened == other.opened:
        return None
    return _asked(
        "comparison",
        f"Which bridge was opened earlier, the {one.name} or the {other.name}?",
        (one.name, other.name),
        (one.document, other.document),
        min(one, other, key=lambda bridge: bridge.opened).name,
    )


@functools.lru_cache(maxsize=4)
def _read(path: str, changed: int) -> tuple[Task, ...]:
    """Every row of a file of questions. An environment is made per episode, so they are kept until the file changes."""
    found = []
    for where, row in read_lines(path, _EXPECTED):
        sources = row.get("sources")
        texts = isinstance(row.get("question"), str) and isinstance(row.get("answer"), str | int)
        if not texts or not isinstance(sources, list) or not all(isinstance(source, str) for source in sources):
            raise ConfigError(f"{where} is no question; expected is {_EXPECTED}")
        queries = (row["question"],)
        task = _asked("given", row["question"], queries, tuple(sources), row["answer"]).task(0)
        split = str(row.get("split") or split_of(task.question))
        found.append(Task(content_hash(task), task.prompt, task.answer, task.data, split))
    return tuple(found)
