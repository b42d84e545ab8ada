"""Probes that need no attack: tasks, determinism alone and in company, leaks, seeds, the loop, cancellation."""

from __future__ import annotations

import asyncio
import itertools
import json
import time

from agentenv.check.catalogue import Probe
from agentenv.check.measure import global_generators, seed_generators, touched
from agentenv.check.play import Actor, Player, Trace, follow_oracle, insist, recite
from agentenv.check.report import Evidence, Severity, shorten
from agentenv.check.stage import Hold
from agentenv.check.subject import GLOBAL_SEEDS, Case, Subject
from agentenv.env import Action, Env
from agentenv.errors import UnsupportedError
from agentenv.messages import assistant
from agentenv.tasks import Task

COMPANY = 4
"""How many episodes run side by side in the test for interference."""

SPLITS = ("train", "dev", "test")
OVERLAP_SECONDS = 1.5
OVERLAP_TASKS = 64
_WRONG = assistant("a wrong answer")


async def collect_tasks(subject: Subject, count: int) -> None:
    """Fills `subject.cases` and checks the rows themselves."""
    deadline = time.monotonic() + subject.limits.call_seconds
    async with subject.borrow() as env:
        try:
            source = env.tasks("train").shuffle(subject.seed).head(count)
            subject.has_tasks = True
        except UnsupportedError:
            subject.cases = [Case(None, subject.seed + index) for index in range(count)]
            return
        for index, task in enumerate(source):
            subject.cases.append(Case(task, subject.seed + index))
            _check_row(subject, task)
            if time.monotonic() > deadline:
                break
    _check_ids(subject)


def _check_row(subject: Subject, task: Task) -> None:
    shown = Evidence(task_id=str(task.id))
    try:
        back = Task.from_json(task.to_json())
    except Exception as error:
        detail = f"{type(error).__name__}: {error}"
        subject.ledger.note(Probe.TASK_JSON, Severity.ERROR, shown.model_copy(update={"detail": shorten(detail)}))
        return
    if back != task:
        changed = [
            name for name in ("id", "prompt", "answer", "data", "split") if getattr(back, name) != getattr(task, name)
        ]
        detail = f"{', '.join(changed)} came back different"
        subject.ledger.note(Probe.TASK_JSON, Severity.WARNING, shown.model_copy(update={"detail": detail}))


def _check_ids(subject: Subject) -> None:
    by_id: dict[str, Task] = {}
    for case in subject.cases:
        assert case.task is not None
        known = by_id.setdefault(case.task.id, case.task)
        if (known.prompt, known.answer) != (case.task.prompt, case.task.answer):
            evidence = Evidence(task_id=case.task.id, detail="two different tasks have this id")
            subject.ledger.note(Probe.TASK_IDS, Severity.WARNING, evidence)


async def splits(subject: Subject) -> None:
    """Looks for questions that are in two splits."""
    if not subject.has_tasks:
        return
    seen: dict[str, set[str]] = {}
    async with subject.borrow() as env:
        for split in SPLITS:
            deadline = time.monotonic() + OVERLAP_SECONDS
            try:
                rows = itertools.takewhile(lambda _: time.monotonic() < deadline, env.tasks(split).head(OVERLAP_TASKS))  # noqa: B023
                seen[split] = {_content(task) for task in rows if task.prompt}
            except Exception:  # a split this environment does not have
                continue
    for one, other in itertools.combinations(seen, 2):
        shared = seen[one] & seen[other]
        if shared:
            detail = f"{len(shared)} of the first {len(seen[other])} questions of {other!r} are also in {one!r}"
            subject.ledger.note(Probe.SPLIT_OVERLAP, Severity.WARNING, Evidence(detail=detail))


def _content(task: Task) -> str:
    return json.dumps([message.to_wire() for message in task.prompt], sort_keys=True)


async def determinism(subject: Subject) -> None:
    """The same task, seed and actions twice, each on a fresh instance; and twice a task of the environment's choice."""
    severity = Severity.ERROR if subject.spec.deterministic else Severity.INFO
    for case in subject.cases[:3]:
        for actor, label in _behaviours(subject, case):
            first = await subject.play(case, actor, label)
            again = await subject.play(case, recite(first.actions), label)
            if difference := _difference(again, first):
                evidence = Evidence(task_id=case.name, attack=label, detail=difference)
                subject.ledger.note(Probe.NONDETERMINISTIC, severity, evidence)
                return
    own = Case(None, subject.seed)
    first, again = [await subject.play(own, recite(()), "reset") for _ in range(2)]
    if difference := _difference(again, first):
        subject.ledger.note(Probe.NONDETERMINISTIC, severity, Evidence(task_id=own.name, detail=difference))


async def company(subject: Subject) -> None:
    """Episodes that take turns, and episodes that run at once, against the same episodes alone."""
    if Probe.NONDETERMINISTIC in subject.ledger:
        return
    first = subject.cases[0]
    cases = [first, Case(first.task, first.seed + 1), *subject.cases[1 : COMPANY - 1]]
    actors = [_behaviours(subject, case)[index % 2][0] for index, case in enumerate(cases)]
    alone = [await subject.play(case, actor, "alone") for case, actor in zip(cases, actors, strict=True)]
    scripts = [recite(trace.actions) for trace in alone]

    players = [Player(subject.make(), subject.stage, subject.limits) for _ in cases]
    going = [await player.start(case.task, case.seed) for player, case in zip(players, cases, strict=True)]
    while any(going):
        for index, player in enumerate(players):
            going[index] = going[index] and await player.turn(scripts[index])
    for player in players:
        await player.close()
    together = await asyncio.gather(
        *(subject.play(case, script, "side by side") for case, script in zip(cases, scripts, strict=True))
    )
    for how, traces in (("taking turns", [player.trace for player in players]), ("at once", together)):
        for case, trace, solo in zip(cases, traces, alone, strict=True):
            if difference := _difference(trace, solo):
                detail = f"{len(cases)} episodes {how}: {difference} alone"
                probe = Probe.GLOBAL_RNG if Probe.GLOBAL_RNG in subject.ledger else Probe.INTERFERENCE
                subject.ledger.note(probe, Severity.ERROR, Evidence(task_id=case.name, detail=detail))
                return


async def leaks(subject: Subject) -> None:
    """A second episode on a used instance against the same episode on a fresh one."""
    if Probe.NONDETERMINISTIC in subject.ledger or Probe.INTERFERENCE in subject.ledger:
        return
    case, previous = subject.cases[0], subject.cases[-1]
    for actor, label in _behaviours(subject, case):
        fresh = await subject.play(case, actor, label)
        for before, ending in ((follow_oracle(), "solved"), (insist(_WRONG, 3), "failed"), (recite(()), "abandoned")):
            async with subject.borrow() as env:
                await subject.play(previous, before, "first episode", env=env)
                used = await subject.play(case, recite(fresh.actions), label, env=env)
            if difference := _difference(used, fresh):
                detail = f"after an episode that was {ending}: {difference} on a fresh instance"
                evidence = Evidence(task_id=case.name, attack=label, detail=detail)
                subject.ledger.note(Probe.RESET_LEAK, Severity.ERROR, evidence)
                return


async def seeds(subject: Subject) -> None:
    """Whether `reset(seed=…)` without a task ever starts another episode."""
    openings = set()
    async with subject.borrow() as env:
        for seed in range(subject.seed, subject.seed + 8):
            trace = await subject.play(Case(None, seed), recite(()), "reset", env=env)
            if trace.broken:
                return
            openings.add(trace.lines[0])
    if len(openings) > 1:
        return
    choices = {_content(case.task) for case in subject.cases if case.task is not None}
    if len(choices) > 1:
        detail = f"8 seeds started the same task, of {len(choices)} or more different ones"
        subject.ledger.note(Probe.SEED_IGNORED, Severity.ERROR, Evidence(detail=detail))
    elif not subject.has_tasks:
        detail = "8 seeds opened the same way; fine where the seed only rules what happens later"
        subject.ledger.note(Probe.SEED_IGNORED, Severity.INFO, Evidence(detail=detail))


async def global_state(subject: Subject) -> None:
    """Whether the global generators are drawn from or seeded, and whether that changes what happens."""
    case = subject.cases[0]
    for actor, label in _behaviours(subject, case):
        first = await subject.play(case, actor, label)  # also gets imports out of the way, which may seed or draw
        script = recite(first.actions)
        seed_generators(GLOBAL_SEEDS[0])
        before = global_generators()
        same = await subject.play(case, script, label)
        changed = touched(before, global_generators())
        other = await subject.play(case, script, label, global_seed=GLOBAL_SEEDS[1])
        opening = [await subject.play(Case(None, case.seed), recite(()), "reset", global_seed=g) for g in GLOBAL_SEEDS]
        difference = _difference(other, same) or _difference(opening[1], opening[0])
        if changed:
            severity = Severity.ERROR if difference else Severity.WARNING
            detail = f"{changed} changed during the episode"
            if difference:
                detail += f"; with another global seed: {difference}"
            subject.ledger.note(Probe.GLOBAL_RNG, severity, Evidence(task_id=case.name, attack=label, detail=detail))


async def blocking(subject: Subject) -> None:
    """Plays the ordinary and the suspicious episodes three times; a hold counts when it comes back every time."""
    case = subject.cases[0]
    scenarios = [(case, recite(subject.solo[case.name].actions), "oracle")] if case.name in subject.solo else []
    scenarios += [(case, insist(_WRONG, 2), "a wrong answer")]
    scenarios += [(one.case, recite(one.actions), one.label) for one in subject.suspects]
    for which, actor, label in scenarios:
        traces = [await subject.play(which, actor, label) for _ in range(3)]
        for name, hold in _steady(traces):
            if hold.seconds >= subject.limits.block_warning_seconds and name != "oracle":
                severity = Severity.ERROR if hold.seconds >= subject.limits.block_error_seconds else Severity.WARNING
                detail = f"{name} held the loop for {hold.seconds * 1000:.0f} ms at {hold.where or 'an unknown line'}"
                evidence = Evidence(task_id=which.name, attack=label, detail=detail)
                subject.ledger.note(Probe.BLOCKS_LOOP, severity, evidence)


def _steady(traces: list[Trace]) -> list[tuple[str, Hold]]:
    """Per call, the shortest of the repeated holds: what is left when imports and a busy machine are taken out."""
    count = min(len(trace.holds) for trace in traces)
    rows = [[trace.holds[index] for trace in traces] for index in range(count)]
    return [min(row, key=lambda entry: entry[1].seconds) for row in rows]


async def cancellation(subject: Subject) -> None:
    """Cancels a reset and a step while they wait for something; they must end, and close must still work."""
    case = subject.cases[0]
    for name in ("reset", "step"):
        player = Player(subject.make(), subject.stage, subject.limits)
        if name == "reset" or await player.start(case.task, case.seed):
            await _cancel(subject, player.env, name, case)
        await player.close()
        subject.absorb(case, player.trace, f"cancelled {name}")


async def _cancel(subject: Subject, env: Env, name: str, case: Case) -> None:
    work = asyncio.ensure_future(_only(env, name, case))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if work.done():
        return
    work.cancel()
    done, _ = await asyncio.wait({work}, timeout=subject.limits.grace_seconds)
    if not done:
        detail = f"{name} was still running {subject.limits.grace_seconds:g} s after it was cancelled"
        subject.ledger.note(Probe.IGNORES_CANCELLATION, Severity.ERROR, Evidence(detail=detail))
    elif not work.cancelled() and work.exception() is None:
        detail = f"{name} returned a result although it was cancelled"
        subject.ledger.note(Probe.IGNORES_CANCELLATION, Severity.WARNING, Evidence(detail=detail))


async def _only(env: Env, name: str, case: Case) -> object:
    return await (env.reset(task=case.task, seed=case.seed) if name == "reset" else env.step(Action(_WRONG)))


async def closing(subject: Subject) -> None:
    """Close before any reset, and in the middle of an episode."""
    case = subject.cases[0]
    for started in (False, True):
        player = Player(subject.make(), subject.stage, subject.limits)
        if started:
            await player.start(case.task, case.seed)
        await player.close()
        subject.absorb(case, player.trace, "close in the middle" if started else "close before reset")


async def endless(subject: Subject) -> None:
    """Whether an episode ends for a policy that says the same wrong thing for ever."""
    limits = subject.limits
    if subject.spec.max_turns is not None and subject.spec.max_turns > limits.endless_turns:
        return
    trace = await subject.play(subject.cases[0], insist(_WRONG, limits.endless_turns), "endless")
    if not trace.ended and not trace.broken:
        detail = f"still going after {len(trace.actions)} turns, and the specification sets no max_turns"
        subject.ledger.note(Probe.ENDLESS, Severity.INFO, Evidence(detail=detail))


def _behaviours(subject: Subject, case: Case) -> list[tuple[Actor, str]]:
    """A good and a bad way to play a case."""
    solo = subject.solo.get(case.name)
    good = insist(assistant(""), 3) if solo is None else recite(solo.actions)
    return [(good, "oracle"), (insist(_WRONG, 3), "a wrong answer")]


def _difference(trace: Trace, reference: Trace) -> str | None:
    """What differs between two plays; nothing when either broke, which is reported for itself."""
    return None if trace.broken or reference.broken else trace.difference(reference)
