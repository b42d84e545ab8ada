"""A demonstrator who speaks the protocol perfectly, works carelessly, and makes calls that nobody needs.

Imitating it teaches a policy how to call the three tools and what an answer looks like. Which page is the right one,
that a guess earns nothing and which calls can be left out is then learnt from the reward.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, fields

from agentenv.errors import ConfigError, UnsupportedError
from agentenv.messages import Message, Role, ToolCall, assistant
from agentenv.policy.contract import Completion, Policy, Sampling, Session
from agentenv.tools import ToolSpec
from agentenv.wrappers import Wrapper
from agentenv_tools.research.catalogue import Fact, Page
from agentenv_tools.research.env import Research


@dataclass(frozen=True, slots=True)
class Carelessness:
    """How likely each kind of slip is, in an episode.

    Attributes:
        prices: where the question is about the weight it takes the page with the price.
        searches_again: it makes the same search a second time.
        reads_both: it reads the other page that was listed, too, before its own.
        recalculates: it makes the same calculation a second time.
        guesses: it leaves the calculation out and answers with what the page says.
    """

    prices: float = 0.7
    searches_again: float = 0.5
    reads_both: float = 0.5
    recalculates: float = 0.5
    guesses: float = 0.1

    def __post_init__(self) -> None:
        for field in fields(self):
            if not 0 <= (value := getattr(self, field.name)) <= 1:
                raise ConfigError(f"{field.name} is a probability, got {value}")


class CarelessResearcher(Policy):
    """Plays the research environment with the slips of `Carelessness`.

    What it will do is drawn from the episode's seed before the first turn, so it demonstrates one task the same way
    every time. Its numbers are always right for what it read and asked.
    """

    name = "careless_researcher"

    def __init__(self, carelessness: Carelessness | None = None) -> None:
        self._carelessness = carelessness or Carelessness()

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], sampling: Sampling, session: Session
    ) -> Completion:
        plan = self._plan(_research(session), random.Random(session.seed))
        turn = sum(message.role is Role.ASSISTANT for message in messages)
        said = plan[min(turn, len(plan) - 1)]
        return Completion(said, "tool_calls" if said.tool_calls else "stop")

    def _plan(self, env: Research, rng: random.Random) -> list[Message]:
        """Every turn of the episode."""
        careless, asked = self._carelessness, env.question
        listed = env.catalogue.search(asked.item)
        priced = asked.fact is Fact.WEIGHT and rng.random() < careless.prices
        page = env.catalogue.page_of(asked.item, Fact.PRICE if priced else asked.fact)
        again, both, twice, guesses = (
            rng.random() < likely
            for likely in (careless.searches_again, careless.reads_both, careless.recalculates, careless.guesses)
        )
        calls: list[tuple[str, dict[str, str]]] = [("search", {"query": asked.item})] * (1 + again)
        calls += [("read", {"page": other.id}) for other in listed if other != page and both]
        calls += [("read", {"page": page.id})]
        calls += [("calculator", {"expression": asked.expression(page.value)})] * ((1 + twice) * (not guesses))
        turns = [
            assistant(None, ToolCall(f"call_{turn}", name, json.dumps(arguments)))
            for turn, (name, arguments) in enumerate(calls)
        ]
        return [*turns, _answer(page.value if guesses else asked.answer(page.value), page)]


def _answer(number: int, page: Page) -> Message:
    return assistant(f"{number} [{page.id}]")


def _research(session: Session) -> Research:
    env = session.env.unwrapped if isinstance(session.env, Wrapper) else session.env
    if not isinstance(env, Research):
        raise UnsupportedError("careless_researcher demonstrates tools/research-v0 and no other environment")
    return env


def make_policy(argument: str | None = None, **carelessness: float) -> CarelessResearcher:
    """The research environment's careless demonstrator: wrong pages, wrong operations, needless calls."""
    known = [field.name for field in fields(Carelessness)]
    if argument is not None:
        raise ConfigError(f"careless_researcher takes no argument; its options are {', '.join(known)}")
    for name in carelessness:
        if name not in known:
            raise ConfigError(f"careless_researcher has no option {name!r}; there are {', '.join(known)}")
    return CarelessResearcher(Carelessness(**carelessness))
