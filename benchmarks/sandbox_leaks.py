"""Ten thousand executions, half of them in sandboxes used once: what is left of them?

Processes, open files and control groups are counted before and after. Memory is that of this process and of the zygote
after a fifth of the executions, when caches are warm, and at the end.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from agentenv.sandbox import Limits
from agentenv_local import LocalSandboxes
from agentenv_local.jail import cgroups
from benchmarks.result import Result, Table

EXECUTIONS = 10_000
SIDE_BY_SIDE = 4
TOLERATED_MIB = 4.0


@dataclass(frozen=True, slots=True)
class Held:
    """What is there: processes below this one, open files of this one and of the zygote, control groups, and resident
    memory of both in MiB."""

    processes: int
    files: int
    groups: int
    memory_mib: float


def run(rounds: int = 1) -> Result:
    del rounds  # what leaks is seen once
    warm, end = asyncio.run(_measure())
    grown = end.memory_mib - warm.memory_mib
    clean = (warm.processes, warm.files, warm.groups) == (end.processes, end.files, end.groups)
    met = clean and grown <= TOLERATED_MIB
    verdict = (
        f"After {EXECUTIONS:,} executions, half of them in sandboxes used once, there are {_more(end, warm)}; memory "
        f"has grown by {grown:.1f} MiB since the first fifth: {'met' if met else 'MISSED'}."
    )
    names = {"processes": "processes", "files": "open files", "groups": "control groups", "memory_mib": "resident, MiB"}
    before, after = asdict(warm), asdict(end)
    rows = [[label, f"{before[name]:.4g}", f"{after[name]:.4g}"] for name, label in names.items()]
    table = Table(["what is held", f"after {EXECUTIONS // 5:,}", f"after {EXECUTIONS:,}"], rows)
    return Result("sandbox_leaks", verdict, table, {"warm": before, "end": after})


async def _measure() -> tuple[Held, Held]:
    async with LocalSandboxes(limits=Limits(files=200), warm=2) as sandboxes, sandboxes.sandbox() as kept:

        async def one(number: int) -> None:
            if number % 2:
                assert (await kept.run_python("print(1)")).ok
                return
            async with sandboxes.sandbox() as fresh:
                assert (await fresh.run_python("print(1)")).ok

        async def many(count: int) -> Held:
            numbers = iter(range(count))

            async def worker() -> None:
                for number in numbers:
                    await one(number)

            async with asyncio.TaskGroup() as group:
                for _ in range(SIDE_BY_SIDE):
                    group.create_task(worker())
            return await _held(sandboxes.pid)

        return await many(EXECUTIONS // 5), await many(EXECUTIONS - EXECUTIONS // 5)


async def _held(zygote: int) -> Held:
    """Once what was told to end has ended: what is there twice in a row is there to stay."""
    last = None
    while last != (found := _look(zygote)):
        last = found
        await asyncio.sleep(1.0)
    return found


def _look(zygote: int) -> Held:
    folders = {folder for parent in cgroups.find().parents for folder in parent.glob(f"agentenv-{zygote}-*")}
    both = (os.getpid(), zygote)
    memory = sum(_resident(pid) for pid in both) / 2**20
    files = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in both)
    return Held(_below(os.getpid()), files, len(folders), round(memory, 1))


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _below(pid: int) -> int:
    """How many processes descend from this one."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return 0
    return len(children) + sum(_below(int(child)) for child in children)


def _more(end: Held, warm: Held) -> str:
    counted = {"processes": end.processes - warm.processes, "open files": end.files - warm.files}
    counted["control groups"] = end.groups - warm.groups
    return " and ".join(f"{count} more {name}" for name, count in counted.items())
