"""The reward of an episode: the product of the checks that its task names.

`DB`, `COMMUNICATE`, `ACTION` and `ENV_ASSERTION` are computed. `NL_ASSERTION`, for which the benchmark asks a language
model, is not: where such a task also lists the texts that the agent has to say, those are required in its place, and
where it does not, the sentences are left out and counted as `unjudged`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentenv.arguments import NotJSONError, decode
from agentenv.messages import ToolCall
from agentenv_tau2.rows import Check, Criteria, GoldCall, Row
from agentenv_tau2.world import CALL_FAILED, World


@dataclass(frozen=True, slots=True)
class Verdict:
    """What each check found; `None` for one that the task does not name. `unjudged` counts sentences left out."""

    database: bool | None
    communicated: bool | None
    actions: bool | None
    assertions: bool | None
    unjudged: int

    @property
    def solved(self) -> bool:
        """Whether no check failed."""
        return False not in self._found.values()

    @property
    def metrics(self) -> dict[str, float]:
        """The checks that were made, and how many sentences were not judged."""
        made = {name: float(found) for name, found in self._found.items() if found is not None}
        return {**made, "unjudged": self.unjudged}

    @property
    def _found(self) -> dict[str, bool | None]:
        return {
            "database": self.database,
            "communicated": self.communicated,
            "actions": self.actions,
            "assertions": self.assertions,
        }


def judge(
    row: Row, world: World, new_world: Callable[[], World], said: Sequence[str], made: Sequence[ToolCall]
) -> Verdict:
    """Judges an episode by its end.

    Args:
        world: as the agent has left it. new_world: makes one as the database has it, for the ground truth.
        said: what the agent said to the user. made: the calls that gave it a result.
    """
    criteria = row.evaluation_criteria
    basis = criteria.reward_basis
    by_text = Check.COMMUNICATE in basis or (Check.JUDGEMENT in basis and bool(criteria.texts))
    return Verdict(
        database=_same_database(row, world, new_world) if Check.DATABASE in basis else None,
        communicated=_communicated(criteria.texts, said) if by_text else None,
        actions=_all_made(criteria.actions or (), made) if Check.ACTION in basis else None,
        assertions=_all_hold(criteria, world) if Check.ASSERTION in basis else None,
        unjudged=len(criteria.unjudged),
    )


def replay_truth(row: Row, new_world: Callable[[], World]) -> tuple[World, tuple[GoldCall, ...]]:
    """The world after the ground truth's calls, and those of them that could not be done.

    A call that fails has changed nothing, and the others are made all the same: so does the benchmark.
    """
    world, failed = new_world(), []
    world.prepare(row.initial_state)
    for gold in world.truth(row.evaluation_criteria):
        try:
            world.side(gold.requestor).call(gold.name, gold.arguments)
        except CALL_FAILED:
            failed.append(gold)
    return world, tuple(failed)


def _same_database(row: Row, world: World, new_world: Callable[[], World]) -> bool:
    criteria = row.evaluation_criteria
    if criteria.actions is None and criteria.env_assertions is None:
        return True  # there is no ground truth to compare with, which the benchmark takes for a match
    return world.fingerprint() == replay_truth(row, new_world)[0].fingerprint()


def _communicated(texts: Iterable[str], said: Sequence[str]) -> bool:
    heard = [_plain(one) for one in said]
    return all(any(_plain(text) in one for one in heard) for text in texts)


def _plain(text: str) -> str:
    return text.lower().replace(",", "")


def _all_made(actions: Iterable[GoldCall], made: Sequence[ToolCall]) -> bool:
    return all(any(is_call_of(call, gold) for call in made) for gold in actions)


def is_call_of(call: ToolCall, gold: GoldCall) -> bool:
    """Whether a call is the ground truth's, as far as the arguments go that count."""
    if call.name != gold.name:
        return False
    try:
        raw, _ = decode(call.arguments, repair=True)  # what was repaired has been made as well
    except NotJSONError:
        return False
    if not isinstance(raw, dict):
        return False
    given = _given(raw)
    wanted = _given(gold.arguments)
    names = given.keys() | wanted.keys() if gold.compare_args is None else gold.compare_args
    return all(given.get(name) == wanted.get(name) for name in names)


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments without those that are null, which is as good as left out."""
    return {name: value for name, value in arguments.items() if value is not None}


def _all_hold(criteria: Criteria, world: World) -> bool:
    return all(world.holds(assertion) for assertion in criteria.env_assertions or ())
