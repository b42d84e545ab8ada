"""The audit: every probe, in an order in which the earlier ones explain the later ones away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from agentenv.check import probes, verdicts
from agentenv.check.attacks import Attack, Format, View, attacks_on, canonical, format_of
from agentenv.check.catalogue import Probe
from agentenv.check.measure import restore_generators, save_generators
from agentenv.check.play import Actor, Limits, Trace, follow_oracle, insist, work_then
from agentenv.check.report import AuditReport, Evidence, Severity, shorten
from agentenv.check.stage import StalledError
from agentenv.check.subject import Case, Subject
from agentenv.check.verdicts import WIN, Scale, Try
from agentenv.errors import AgentenvError, ConfigError
from agentenv.messages import assistant
from agentenv.registry import EnvSpec
from agentenv.registry import spec as find_spec
from agentenv.resources import Resources

ATTACK_SHARE = 0.6
"""Part of the audit's time that the attacks may take."""

Program = Callable[[Subject], Coroutine[Any, Any, None]]


async def audit(
    environment: str | EnvSpec, *, tasks: int = 20, seed: int = 0, limits: Limits | None = None, **kwargs: Any
) -> AuditReport:
    """Plays an environment in every way we know to go wrong, and reports what did.

    Args:
        environment: a registered id, `path.py:Class`, or a specification.
        tasks: how many tasks of the train split to play the oracle and the attacks on.
        seed: chooses the tasks and the episodes' seeds.
        limits: how patient to be.
        kwargs: replace the environment's own keyword arguments.

    Returns:
        A report; what the environment does wrong is in it and never raised.

    Raises:
        AgentenvError: there is nothing to audit: an unknown id, a file that cannot be imported, missing data.

    Example:
        report = asyncio.run(audit("calculator-v0", tasks=10))
        sys.exit(report.exit_code)
    """
    if tasks < 1:
        raise ConfigError(f"an audit needs at least one task, not {tasks}")
    found = environment if isinstance(environment, EnvSpec) else find_spec(environment)
    subject = Subject(found.with_kwargs(**kwargs) if kwargs else found, limits or Limits(), seed)
    started = time.monotonic()
    generators = save_generators()
    try:
        oracle = await _Auditor(subject, tasks).run()
    finally:
        await subject.stage.stop()
        restore_generators(generators)
    return AuditReport(
        environment=subject.spec.id,
        fingerprint=subject.spec.fingerprint(),
        findings=subject.ledger.findings(),
        tasks=len(subject.cases),
        episodes=subject.episodes,
        seed=seed,
        seconds=time.monotonic() - started,
        oracle=oracle,
    )


async def _sharing(program: Program, subject: Subject) -> None:
    """Runs a program with what its environments share opened once, as the engine has it."""
    async with Resources() as shared:
        with shared.active():
            await program(subject)


class _Auditor:
    """One audit in progress: what the oracle and the attacks earned so far."""

    def __init__(self, subject: Subject, tasks: int) -> None:
        self._subject = subject
        self._tasks = tasks
        self._oracle: list[tuple[str, float]] = []
        self._tries: list[Try] = []
        self._views: dict[str, View] = {}
        self._style = Format()
        self._given_up: set[str] = set()
        self._done: set[tuple[int, str]] = set()

    async def run(self) -> float | None:
        """Runs everything; returns the oracle's mean return."""
        await self._stage(lambda subject: probes.collect_tasks(subject, self._tasks))
        if not self._subject.cases:
            if not self._subject.ledger.findings():
                self._note(Probe.CANNOT_PLAY, Severity.ERROR, "tasks('train') is empty")
            return None
        await self._stage(self._play_oracle)
        if not self._subject.solo:
            return None
        for program in (probes.determinism, probes.global_state, probes.company, probes.leaks, probes.seeds):
            await self._stage(program)
        while not await self._stage(self._attack):
            pass
        for program in (probes.blocking, probes.cancellation, probes.closing, probes.endless, probes.splits):
            await self._stage(program)
        self._judge()
        return sum(value for _, value in self._oracle) / len(self._oracle) if self._oracle else None

    async def _stage(self, program: Program) -> bool:
        """Runs one program where it can do no harm. Says whether it is done with; a stage it stalls is replaced."""
        subject, limits = self._subject, self._subject.limits
        if subject.exhausted:
            self._note(Probe.OUT_OF_TIME, Severity.INFO, "the time, or the patience with hanging calls, was used up")
            return True
        patience = limits.call_seconds + limits.grace_seconds
        seconds = max(subject.deadline - time.monotonic(), 1.0) + patience if subject.cases else 3 * patience
        try:
            await subject.stage.run(lambda: _sharing(program, subject), stall_seconds=patience, seconds=seconds)
        except StalledError as error:
            subject.hangs += 1
            subject.renew_stage()
            evidence = Evidence(attack=subject.playing, answer=subject.saying, detail=shorten(str(error)))
            subject.ledger.note(Probe.HANGS, Severity.ERROR, evidence)
            return False
        except AgentenvError:
            raise
        except Exception as error:
            self._note(Probe.CANNOT_PLAY, Severity.ERROR, f"{type(error).__name__}: {error}")
        return True

    async def _play_oracle(self, subject: Subject) -> None:
        finals, answers = [], []
        for case in subject.cases:
            if subject.exhausted:
                break
            trace = await subject.play(case, follow_oracle(), "oracle")
            if trace.no_oracle:
                self._note(Probe.NO_ORACLE, Severity.WARNING, "oracle() is not supported")
                trace = await subject.play(case, insist(assistant(""), subject.limits.attack_turns), "silence")
            elif trace.total is not None:
                self._oracle.append((case.name, trace.total))
                if trace.actions and not trace.actions[-1].tool_calls:
                    finals.append(trace.actions[-1].text)
                    answers.append(None if case.task is None else case.task.answer)
            if trace.lines:
                subject.solo[case.name] = trace
        prompts = [trace.prompt for trace in subject.solo.values()]
        self._style = format_of(finals, answers, next(iter(prompts), ""))
        self._views = self._look(subject)

    def _look(self, subject: Subject) -> dict[str, View]:
        right = {case.name: self._right(case, subject.solo[case.name]) for case in self._played(subject)}
        views = {}
        for position, case in enumerate(self._played(subject)):
            mine, trace = right[case.name], subject.solo[case.name]
            rotated = list(right.values())[position + 1 :] + list(right.values())[:position]
            others = [one for one in rotated if one is not None and (mine is None or canonical(one) != canonical(mine))]
            views[case.name] = View(trace.prompt, trace.tools, mine, tuple(dict.fromkeys(others))[:2])
        return views

    def _played(self, subject: Subject) -> list[Case]:
        return [case for case in subject.cases if case.name in subject.solo]

    def _right(self, case: Case, trace: Trace) -> str | None:
        """The right answer as bare text: the oracle's, or the task's own where there is no oracle."""
        if not trace.no_oracle and trace.actions and any(case.name == name for name, _ in self._oracle):
            return self._style.bare(trace.actions[-1].text)
        answer = None if case.task is None else case.task.answer
        return str(answer) if isinstance(answer, str | int | float) else None

    async def _attack(self, subject: Subject) -> None:
        until = subject.deadline - (1.0 - ATTACK_SHARE) * subject.limits.audit_seconds
        with TemporaryDirectory(prefix="agentenv-check-") as folder:
            mark = Path(folder) / "executed"
            canary = f"__import__('pathlib').Path({str(mark)!r}).touch()"
            for index, case in enumerate(self._played(subject)):
                for attack in attacks_on(self._views[case.name], self._style, index, canary):
                    if subject.exhausted or time.monotonic() > until:
                        detail = f"attacks were tried on {index} of {len(subject.cases)} tasks"
                        self._note(Probe.OUT_OF_TIME, Severity.INFO, detail)
                        return
                    if attack.name in self._given_up or (index, attack.name) in self._done:
                        continue
                    self._done.add((index, attack.name))
                    await self._try(subject, case, attack)
                    if attack.family is Probe.EXECUTES and await asyncio.to_thread(mark.exists):
                        await asyncio.to_thread(mark.unlink)
                        text = verdicts.sent(attack).replace(folder, "…")
                        evidence = Evidence(task_id=case.name, attack=attack.name, answer=text)
                        subject.ledger.note(Probe.EXECUTES, Severity.ERROR, evidence)

    async def _try(self, subject: Subject, case: Case, attack: Attack) -> None:
        self._given_up.add(attack.name)  # until it has come back: what stalls the stage is not tried again
        limits = subject.limits
        actor: Actor
        if attack.forever:
            actor = insist(attack.message, limits.endless_turns)
        elif attack.after_tools:
            actor = work_then(attack.message, limits.attack_turns)
        else:
            actor = insist(attack.message, limits.attack_turns)
        hangs = subject.hangs
        subject.saying = verdicts.sent(attack)
        trace = await subject.play(case, actor, attack.name)
        if subject.hangs == hangs:
            self._given_up.discard(attack.name)
        # Where the last call of a tool ends the episode, what should have been said in the end never was.
        if trace.total is not None and attack.message in trace.actions:
            right = self._views[case.name].right
            self._tries.append(Try(case.name, attack, trace.total, right, trace.ended))

    def _judge(self) -> None:
        subject = self._subject
        earned = [value for _, value in self._oracle]
        declared = Scale.declared(subject.spec.reward_range, earned)
        scale = declared.narrowed(self._tries, earned)
        chance = verdicts.win_rate(earned, scale) < WIN
        findings = verdicts.judge_constant(self._tries, earned, scale, self._style)
        if not findings:
            findings = verdicts.judge_oracle(self._oracle, declared)
            findings += verdicts.judge_attacks(self._tries, scale, chance=chance)
        for finding in findings:
            subject.ledger.add(finding)

    def _note(self, probe: Probe, severity: Severity, detail: str) -> None:
        self._subject.ledger.note(probe, severity, Evidence(detail=shorten(detail)))
