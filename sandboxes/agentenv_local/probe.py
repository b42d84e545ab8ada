"""What this host can promise its local sandboxes: found out by making one."""

from __future__ import annotations

from agentenv.errors import ConfigError
from agentenv.sandbox import Isolation, Promise, Promises, SandboxFailed
from agentenv_local.backend import LocalSandboxes


async def probe(wanted: Isolation) -> Promises:
    """What sandboxes of this isolation are held to here; where no program runs in it, what lesser ones are.

    Where none runs at all it says what was in the way.
    """
    problems: list[str] = []
    for isolation in dict.fromkeys((wanted, Isolation.RESTRICTED)):
        try:
            async with LocalSandboxes(isolation=isolation, warm=0, without=list(Promise)) as sandboxes:
                async with sandboxes.sandbox() as sandbox:
                    result = await sandbox.run_python("print(1)")
                if result.ok:
                    return sandboxes.promises
                problems.append(f"{isolation.value}: a program could not run: {result.stderr.text or result.message}")
        except (SandboxFailed, ConfigError) as error:
            problems.append(f"{isolation.value}: {error}")
    return Promises(Isolation.NONE, {}, dict.fromkeys(Promise, "; ".join(problems)))
