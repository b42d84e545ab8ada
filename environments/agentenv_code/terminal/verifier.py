"""What the agent's work is worth: a task's tests, brought in when the agent is gone.

The tests of a task run where the agent worked (Harbor's `shared` mode, its default), or in a sandbox that the agent has
never seen and that is given its artifacts alone (`separate`). Either way every process of the agent's has been ended
before they come; they, their results and their home are in a folder whose name nobody knew before; their environment
is the sandbox's own and not what the agent's shell made of it; and their processes have been ended, too, when the
reward is read. What this cannot prevent in shared mode: that the tests themselves run a program of the agent's, which
can then do whatever they can. A task that has to run one should collect its output and be verified separately.
"""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import dataclass, field

from agentenv.errors import VerifierError
from agentenv.sandbox import EntryKind, SandboxFileError
from agentenv_code.terminal.files import download_tree, upload_folder
from agentenv_code.terminal.folder import TaskFolder
from agentenv_code.terminal.ground import Ground, Site

_REWARD_BYTES = 64 * 1024
_ARTIFACT_FILES, _ARTIFACT_BYTES = 1_000, 32 * 2**20

Artifacts = dict[str, bytes]
"""Files of the agent's by their path in the task's image."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the verifier said.

    Attributes:
        parts: the other numbers of its reward.json.
        broken: it gave no reward for what the agent left, though it does for the untouched task.
    """

    reward: float
    parts: dict[str, float] = field(default_factory=dict)
    broken: bool = False


async def judge(ground: Ground, folder: TaskFolder, site: Site) -> Verdict:
    """Ends the agent's processes and verifies what they left.

    Raises:
        VerifierError: the task's tests give no reward for the untouched task either.
        SandboxError: a sandbox failed.
    """
    if folder.settings.verifier.separate:
        artifacts = await _collected(folder, site)
        await site.sandbox.kill()
        async with ground.fresh(folder) as fresh:
            verdict = await _try(ground, folder, fresh, artifacts)
    else:
        await site.sandbox.kill()
        verdict = await _try(ground, folder, site)
    if verdict is not None:
        return verdict
    async with ground.fresh(folder) as fresh:
        if await _try(ground, folder, fresh) is None:
            raise VerifierError(
                f"{folder.tests / 'test.sh'} wrote no reward that is a number, for the untouched task too"
            )
    return Verdict(0.0, broken=True)


async def _try(ground: Ground, folder: TaskFolder, site: Site, artifacts: Artifacts | None = None) -> Verdict | None:
    """The tests' verdict on a site; `None` where they gave none."""
    sandbox, settings = site.sandbox, folder.settings.verifier
    desk = ground.desk(site)
    if desk.stale:
        await sandbox.exec(["rm", "-rf", "--", *desk.stale])
    try:
        for path, data in (artifacts or {}).items():
            await sandbox.write(site.inside(path), data)
        await upload_folder(sandbox, folder.tests, desk.tests)
    except SandboxFileError:
        return None
    await sandbox.exec(["mkdir", "-p", f"{desk.logs}/verifier", desk.variables.get("HOME", desk.logs)])
    await sandbox.exec(
        ["bash", f"{desk.tests}/test.sh"],
        cwd=site.work,
        env={**site.variables, **settings.env, **desk.variables},
        wall_seconds=settings.timeout_sec,
    )
    await sandbox.kill()
    return await _reward(site, f"{desk.logs}/verifier")


async def _reward(site: Site, logs: str) -> Verdict | None:
    """What reward.json says, else reward.txt, as Harbor reads them."""
    numbers = _numbers(await _text(site, f"{logs}/reward.json"))
    if "reward" not in numbers:
        numbers |= _numbers(await _text(site, f"{logs}/reward.txt"))
    reward = numbers.pop("reward", None)
    return None if reward is None else Verdict(reward, numbers)


async def _text(site: Site, path: str) -> str:
    try:
        return (await site.sandbox.read(path, limit=_REWARD_BYTES)).decode("utf-8", "replace")
    except SandboxFileError:
        return ""


def _numbers(text: str) -> dict[str, float]:
    """The finite numbers of a JSON object, or a lone number as the reward.

    >>> _numbers("0.5\\n"), _numbers('{"reward": 1, "style": 0.25, "note": "well"}'), _numbers("nan")
    ({'reward': 0.5}, {'reward': 1.0, 'style': 0.25}, {})
    """
    try:
        parsed = json.loads(text)
    except ValueError:
        return {}
    found = parsed if isinstance(parsed, dict) else {"reward": parsed}
    return {
        name: float(value)
        for name, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


async def _collected(folder: TaskFolder, site: Site) -> Artifacts:
    """The task's artifacts, after its collect commands; what is missing or too large is left out."""
    for one in folder.settings.verifier.collect:
        await site.sandbox.exec(["sh", "-c", one.command], cwd=site.work, wall_seconds=one.timeout_sec)
    found: Artifacts = {}
    for artifact in folder.settings.artifacts:
        source = artifact.source.rstrip("/")
        with contextlib.suppress(SandboxFileError):
            found |= await _artifact(site, source)
    return found


async def _artifact(site: Site, source: str) -> Artifacts:
    """A file, or the files in a folder."""
    path = site.inside(source)
    folder, _, name = path.rpartition("/")
    kinds = {entry.name: entry.kind for entry in await site.sandbox.list(folder)}
    if kinds.get(name) is EntryKind.FOLDER:
        tree = await download_tree(site.sandbox, path, files=_ARTIFACT_FILES, size=_ARTIFACT_BYTES)
        return {f"{source}/{relative}": data for relative, data in tree.items()}
    if kinds.get(name) is EntryKind.FILE:
        return {source: await site.sandbox.read(path, limit=_ARTIFACT_BYTES)}
    return {}
