"""The environment under audit: how to make and play it, and the ledger of what it did wrong."""

from __future__ import annotations

import contextlib
import inspect
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from agentenv.check.catalogue import EXPLANATIONS, Probe
from agentenv.check.measure import seed_generators
from agentenv.check.play import Actor, Limits, Player, Trace
from agentenv.check.report import Evidence, Finding, Severity, shorten
from agentenv.check.stage import Stage
from agentenv.env import Env
from agentenv.errors import AgentenvError, RegistryError
from agentenv.messages import Message
from agentenv.registry import EnvSpec
from agentenv.tasks import Task

MAX_HANGS = 3

GLOBAL_SEEDS = (987_654_321, 123_456_789)
"""Where the global generators are put before a play; unlike any seed an environment might put there itself."""


@dataclass(frozen=True, slots=True)
class Case:
    """What one episode is about: a task, or `None` where the environment has none, and the seed."""

    task: Task | None
    seed: int

    @property
    def name(self) -> str:
        return f"seed {self.seed}" if self.task is None else self.task.id


class Ledger:
    """Findings, one per probe: the worst severity, the first evidence of it, and how often."""

    def __init__(self) -> None:
        self._findings: dict[Probe, Finding] = {}

    def __contains__(self, probe: Probe) -> bool:
        return probe in self._findings

    def add(self, finding: Finding) -> None:
        known = self._findings.get(finding.probe)
        if known is None:
            self._findings[finding.probe] = finding
            return
        lead = finding if finding.severity.rank > known.severity.rank else known
        counts = {"seen": known.seen + finding.seen, "trials": known.trials + finding.trials}
        self._findings[finding.probe] = lead.model_copy(update=counts)

    def note(self, probe: Probe, severity: Severity, evidence: Evidence) -> None:
        self.add(Finding(probe=probe, severity=severity, summary=EXPLANATIONS[probe].meaning, evidence=evidence))

    def findings(self) -> tuple[Finding, ...]:
        """Worst first, then in the order of the catalogue."""
        order = list(Probe)
        return tuple(sorted(self._findings.values(), key=lambda one: (-one.severity.rank, order.index(one.probe))))


@dataclass(frozen=True, slots=True)
class Suspect:
    """A play during which the loop was held; it is played again before anything is said."""

    case: Case
    actions: tuple[Message, ...]
    label: str


class Subject:
    """One audited environment on one stage."""

    def __init__(self, spec: EnvSpec, limits: Limits, seed: int) -> None:
        self.spec = spec
        self.limits = limits
        self.seed = seed
        self.ledger = Ledger()
        self.cases: list[Case] = []
        self.has_tasks = False
        self.solo: dict[str, Trace] = {}
        """The oracle's trace of each case (or silence's, without an oracle), by the case's name."""
        self.suspects: list[Suspect] = []
        self.episodes = 0
        self.hangs = 0
        self.playing = ""
        self.saying = ""
        self.deadline = time.monotonic() + limits.audit_seconds
        self._sources: frozenset[str] | None = None
        self.stage = Stage()

    @property
    def exhausted(self) -> bool:
        """Whether there is no point, or no time, to go on."""
        return self.hangs >= MAX_HANGS or time.monotonic() > self.deadline

    def make(self) -> Env:
        """A fresh instance. An error of its constructor is the user's to see, as one line."""
        try:
            env = self.spec.make()
        except AgentenvError:
            raise
        except Exception as error:
            raise RegistryError(f"{self.spec.id} cannot be made: {type(error).__name__}: {error}") from error
        if self._sources is None:
            self._sources = frozenset(_files_of(env))
            self.stage.sources = self._sources
        return env

    @contextlib.asynccontextmanager
    async def borrow(self) -> AsyncIterator[Env]:
        """A fresh instance that is closed after the block; how closing goes is another probe's business."""
        env = self.make()
        try:
            yield env
        finally:
            await Player(env, self.stage, self.limits).close()

    def renew_stage(self) -> None:
        """A new stage in place of one that was abandoned."""
        self.stage = Stage(self._sources or frozenset())

    async def play(
        self, case: Case, actor: Actor, label: str, *, env: Env | None = None, global_seed: int = GLOBAL_SEEDS[0]
    ) -> Trace:
        """One episode on `env` or a fresh instance, which is closed after it. Its problems go to the ledger.

        The global generators are put to `global_seed` first, so that only the probe that looks for them sees them.
        The first play that hangs is played once more before it is believed: starting worker processes on a busy
        machine takes long.
        """
        self.playing = label
        trace = await self._play_once(case, actor, env, global_seed)
        if any(problem.probe is Probe.HANGS for problem in trace.problems) and env is None and not self.hangs:
            trace = await self._play_once(case, actor, env, global_seed)
        self.absorb(case, trace, label)
        return trace

    async def _play_once(self, case: Case, actor: Actor, env: Env | None, global_seed: int) -> Trace:
        instance = self.make() if env is None else env
        player = Player(instance, self.stage, self.limits)
        seed_generators(global_seed)
        try:
            await player.play(case.task, case.seed, actor)
        finally:
            if env is None:
                await player.close()
        return player.trace

    def absorb(self, case: Case, trace: Trace, label: str) -> None:
        """Writes down what a trace shows by itself."""
        self.episodes += 1
        answer = trace.actions[-1] if trace.actions else None
        shown = Evidence(
            task_id=case.name,
            attack=label,
            answer=None if answer is None else (shorten(answer.text) or _calls(answer) or "(nothing)"),
            reward=trace.total,
        )
        for problem in trace.problems:
            self.hangs += problem.probe is Probe.HANGS
            evidence = shown.model_copy(update={"detail": problem.detail})
            self.ledger.note(problem.probe, Severity.ERROR, evidence)
        low, high = self.spec.reward_range
        total = trace.total
        if total is not None and (total > high + 1e-6 or (trace.ended and total < low - 1e-6)):
            detail = f"a return of {total:g}, declared is {low:g} … {high:g}"
            self.ledger.note(Probe.REWARD_RANGE, Severity.ERROR, shown.model_copy(update={"detail": detail}))
        if trace.ended and not trace.broken and total is None:
            severity = Severity.ERROR if label == "oracle" else Severity.WARNING
            self.ledger.note(Probe.UNSCORED, severity, shown.model_copy(update={"detail": "the reward was None"}))
        if "contained" in trace.info and Probe.GLOBAL_RNG not in self.ledger:
            evidence = Evidence(task_id=case.name, detail=str(trace.info["contained"]))
            self.ledger.note(Probe.GLOBAL_RNG, Severity.INFO, evidence)
        if any(hold.seconds >= self.limits.block_warning_seconds for _, hold in trace.holds) and len(self.suspects) < 5:
            self.suspects.append(Suspect(case, tuple(trace.actions), label))


def _calls(message: Message) -> str:
    return shorten(" ".join(f"{call.name}({call.arguments})" for call in message.tool_calls))


def _files_of(env: Env) -> Sequence[str]:
    """The source files of the environment's own class and its bases outside agentenv."""
    inner = getattr(env, "unwrapped", env)
    files = []
    for kind in type(inner).__mro__:
        if not kind.__module__.startswith(("agentenv.", "builtins", "abc")):
            try:
                files.append(inspect.getfile(kind))
            except (TypeError, OSError):
                continue
    return files
