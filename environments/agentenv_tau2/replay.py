"""Every task's own ground truth, and an agent that only talks, through the whole environment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agentenv.env import Action
from agentenv.errors import AgentenvError
from agentenv.messages import assistant
from agentenv_tau2.data import Domain, DomainData, load_domain
from agentenv_tau2.env import CLOSING, Tau2
from agentenv_tau2.rows import Check, Row
from agentenv_tau2.verdict import replay_truth

LONGEST = 200
"""Turns after which an episode of the replay is given up."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of one task.

    Attributes:
        basis: the checks that the task names. calls: of its ground truth. named: whether the task names any, or says
            that there are none.
        failed: the ground truth's calls that could not be done.
        changes: whether the ground truth leaves another database behind than it found.
        texts: how many texts the agent has to say. unjudged: sentences that nothing judges here.
        truth: the reward of the ground truth. silent: that of an agent that only talks; `None` where it was not played.
        expects_nothing: whether there is nothing that an agent that only talks would miss.
    """

    id: str
    basis: tuple[Check, ...]
    calls: int
    named: bool
    failed: tuple[str, ...]
    changes: bool
    texts: int
    unjudged: int
    truth: float
    silent: float | None
    expects_nothing: bool

    @property
    def well(self) -> bool:
        """Whether the ground truth is paid in full, and an agent that only talks where it misses nothing, only."""
        return self.truth == 1.0 and self.silent in (None, float(self.expects_nothing))


async def replay(
    domain: Domain,
    data: str | None,
    *,
    silent: bool,
    on_played: Callable[[Replayed], None] = lambda played: None,
) -> list[Replayed]:
    """Plays each task of a domain once, or twice with `silent`, with the scripted user.

    Raises:
        MissingDataError, ConfigError: as `load_domain`.
    """
    files = load_domain(domain, data)
    played = []
    for row in files.rows.values():
        played.append(await _played(files, row, data, silent=silent))
        on_played(played[-1])
    return played


async def _played(files: DomainData, row: Row, data: str | None, *, silent: bool) -> Replayed:
    begun = files.new_world()
    begun.prepare(row.initial_state)
    ended, failed = replay_truth(row, files.new_world)
    criteria = row.evaluation_criteria
    return Replayed(
        id=row.id,
        basis=criteria.reward_basis,
        calls=len(begun.truth(criteria)),
        named=criteria.actions is not None,
        failed=tuple(gold.name for gold in failed),
        changes=begun.fingerprint() != ended.fingerprint(),
        texts=len(criteria.texts),
        unjudged=len(criteria.unjudged),
        truth=await _reward(files, row, data, talks_only=False),
        silent=await _reward(files, row, data, talks_only=True) if silent else None,
        expects_nothing=_expects_nothing(row, changes=begun.fingerprint() != ended.fingerprint()),
    )


def _expects_nothing(row: Row, *, changes: bool) -> bool:
    """Whether talking is enough: worked out from the row alone, not from a reward."""
    criteria = row.evaluation_criteria
    if Check.ACTION in criteria.reward_basis and criteria.actions:
        return False
    if Check.ASSERTION in criteria.reward_basis and criteria.env_assertions:
        return False
    return not changes and not criteria.texts


async def _reward(files: DomainData, row: Row, data: str | None, *, talks_only: bool) -> float:
    env = Tau2(files.domain, data)
    try:
        await env.reset(task=row.task(files.domain, "base"), seed=0)
        for _ in range(LONGEST):
            result = await env.step(Action(assistant(CLOSING) if talks_only else env.oracle()))
            if result.terminated and result.reward is not None:
                return float(result.reward)
    finally:
        await env.close()
    raise AgentenvError(f"task {row.id} did not end in {LONGEST} turns")
