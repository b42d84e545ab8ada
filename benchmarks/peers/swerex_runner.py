"""SWE-ReX's local runtime: `print(1)` as a command and in a shell's session, and sessions that sleep side by side.

python -m benchmarks.peers.swerex_runner --calls 50 --sleepers 4
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time

from swerex.runtime.abstract import BashAction, Command, CreateBashSessionRequest
from swerex.runtime.local import LocalRuntime

PROGRAM = [sys.executable, "-I", "-c", "print(1)"]


async def measure(calls: int, sleepers: int) -> dict[str, float]:
    """Median seconds of a command and of a session's, and seconds until all that sleep for one second have."""
    runtime = LocalRuntime()
    commands, actions = [], []
    for number in range(sleepers):
        await runtime.create_session(CreateBashSessionRequest(session=f"s{number}", startup_timeout=10))
    for _ in range(calls):
        began = time.perf_counter()
        done = await runtime.execute(Command(command=PROGRAM))
        commands.append(time.perf_counter() - began)
        assert done.stdout == "1\n", done
        began = time.perf_counter()
        said = await runtime.run_in_session(BashAction(command=f"{sys.executable} -I -c 'print(1)'", session="s0"))
        actions.append(time.perf_counter() - began)
        assert said.output.strip() == "1", said
    began = time.perf_counter()
    await asyncio.gather(
        *(runtime.run_in_session(BashAction(command="sleep 1", session=f"s{number}")) for number in range(sleepers))
    )
    slept = time.perf_counter() - began
    await runtime.close()
    return {"command": statistics.median(commands), "session": statistics.median(actions), "slept": slept}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, required=True)
    parser.add_argument("--sleepers", type=int, required=True)
    given = parser.parse_args()
    print(json.dumps(asyncio.run(measure(given.calls, given.sleepers))))
