"""How small the core is: packages installed, CPU time of ``import agentenv``, and what that import must not draw in."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.result import ROOT, Result, Table

HEAVY = ("torch", "transformers", "vllm", "ray", "docker", "mcp")
PACKAGES_TARGET = 40
IMPORT_TARGET_S = 0.25

_PROBE = f"""
import json, resource, sys
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
before = cpu()
import agentenv
print(json.dumps([cpu() - before, [name for name in {HEAVY!r} if name in sys.modules], len(sys.modules)]))
"""


def run(rounds: int = 10) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", str(ROOT)], check=True, capture_output=True)
        packages = _packages(python)
        # From another folder, so that the installed package is measured and not the checkout.
        probes = [
            json.loads(subprocess.run([str(python), "-c", _PROBE], cwd=folder, check=True, capture_output=True).stdout)
            for _ in range(rounds + 1)
        ][1:]  # the first one writes the byte code
    cpu = statistics.median(probe[0] for probe in probes)
    drawn_in = sorted({name for probe in probes for name in probe[1]})
    verdict = (
        f"The core install is {len(packages)} packages, all it pulls in counted (target: at most {PACKAGES_TARGET}); "
        f"`import agentenv` takes {cpu:.3f} s of CPU (target: at most {IMPORT_TARGET_S}) and draws in "
        f"{', '.join(drawn_in) or 'none'} of {', '.join(HEAVY)}."
    )
    rows = [
        ["packages", str(len(packages)), str(PACKAGES_TARGET)],
        ["CPU of `import agentenv`, s", f"{cpu:.3f}", str(IMPORT_TARGET_S)],
        ["heavy modules drawn in", str(len(drawn_in)), "0"],
        ["modules loaded", str(probes[0][2]), ""],
    ]
    data = {"packages": packages, "import_cpu_s": [probe[0] for probe in probes], "drawn_in": drawn_in}
    return Result("core_install", verdict, Table(["core install", "measured", "target"], rows), data)


def _packages(python: Path) -> dict[str, str]:
    """Everything installed but pip and setuptools, which a fresh virtual environment brings along."""
    command = [str(python), "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"]
    listed = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return {row["name"]: row["version"] for row in listed if row["name"] not in ("pip", "setuptools")}
