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
start = cpu()
import agentenv
imported = cpu()
for name in agentenv.__all__:
    getattr(agentenv, name)
everything = cpu()
drawn_in = [name for name in {HEAVY!r} if name in sys.modules]
print(json.dumps([imported - start, everything - start, drawn_in, len(sys.modules)]))
"""
"""The package loads its public names when they are first used, so the import alone would flatter it."""


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
    alone, everything = (statistics.median(probe[column] for probe in probes) for column in (0, 1))
    drawn_in = sorted({name for probe in probes for name in probe[2]})
    verdict = (
        f"The core install is {len(packages)} packages, all it pulls in counted (target: at most {PACKAGES_TARGET}). "
        f"`import agentenv` takes {alone:.3f} s of CPU, {everything:.3f} s once every public name has been used "
        f"(target: at most {IMPORT_TARGET_S}), and draws in {', '.join(drawn_in) or 'none'} of {', '.join(HEAVY)}."
    )
    rows = [
        ["packages", str(len(packages)), str(PACKAGES_TARGET)],
        ["CPU of `import agentenv`, s", f"{alone:.3f}", str(IMPORT_TARGET_S)],
        ["CPU with every public name used, s", f"{everything:.3f}", str(IMPORT_TARGET_S)],
        ["heavy modules drawn in", str(len(drawn_in)), "0"],
    ]
    data = {"packages": packages, "cpu_s": [probe[:2] for probe in probes], "modules": [probe[3] for probe in probes]}
    return Result("core_install", verdict, Table(["core install", "measured", "target"], rows), data)


def _packages(python: Path) -> dict[str, str]:
    """Everything installed but pip and setuptools, which a fresh virtual environment brings along."""
    command = [str(python), "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"]
    listed = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return {row["name"]: row["version"] for row in listed if row["name"] not in ("pip", "setuptools")}
