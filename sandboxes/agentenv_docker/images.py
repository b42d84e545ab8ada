"""Making images where there is no registry: the base from Debian's own packages, others from a Dockerfile upon it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from agentenv.errors import ConfigError

FOLDER = next(
    folder for parent in (0, 1) if (folder := Path(__file__).parents[parent] / "images").is_dir() or parent == 1
)
"""Where the images' sources are: in the wheel beside this file, in the repository beside this package."""
_PREFIX = "agentenv/"
_BASE = "base"


def build(name: str) -> str:
    """Makes an image of `FOLDER`, and the base it stands on if that is missing; its name.

    Raises:
        ConfigError: there is no such image, a program is missing, or a step failed (the message ends with its words).
    """
    source = FOLDER / name
    if not source.is_dir():
        known = ", ".join(sorted(path.name for path in FOLDER.iterdir() if path.is_dir()))
        raise ConfigError(f"there is no image {name!r} to build; there are {known}")
    if name == _BASE:
        return _bootstrap(source)
    if not _is_there(_PREFIX + _BASE):
        build(_BASE)
    # The host's network, so that the package managers in it reach what this machine does.
    _run(["docker", "build", "--quiet", "--network", "host", "--tag", _PREFIX + name, str(source)])
    return _PREFIX + name


def _bootstrap(source: Path) -> str:
    """Debian's smallest system, with the packages that are listed beside it and the mirror that apt is set up with."""
    if shutil.which("debootstrap") is None:
        raise ConfigError("debootstrap is missing: apt-get install debootstrap, and build as root")
    packages = ",".join((source / "packages.txt").read_text().split())
    suite = (source / "suite.txt").read_text().strip()
    with tempfile.TemporaryDirectory(prefix="agentenv-image-") as folder:
        root = Path(folder) / "root"
        _run(["debootstrap", "--variant=minbase", f"--include={packages}", suite, str(root), *_mirror()])
        for rubbish in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale", "usr/share/man"):
            shutil.rmtree(root / rubbish, ignore_errors=True)
        for needed in ("var/cache/apt/archives/partial", "var/lib/apt/lists/partial", "sandbox"):
            (root / needed).mkdir(parents=True, exist_ok=True)
        name = _PREFIX + _BASE
        with tempfile.TemporaryFile() as packed:
            _run(["tar", "--create", "--directory", str(root), "."], output=packed.fileno())
            packed.seek(0)
            _run(["docker", "import", "-", name], given=packed.fileno())
    return name


def _mirror() -> list[str]:
    """Where apt gets this machine's own packages from; debootstrap's default where that is not told."""
    said = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI)"], capture_output=True, text=True)
    return said.stdout.split()[:1]


def _is_there(name: str) -> bool:
    return subprocess.run(["docker", "image", "inspect", name], capture_output=True).returncode == 0


def _run(command: list[str], given: int = subprocess.DEVNULL, output: int = subprocess.PIPE) -> None:
    try:
        done = subprocess.run(command, stdin=given, stdout=output, stderr=subprocess.PIPE, check=False)
    except FileNotFoundError:
        raise ConfigError(f"{command[0]} is missing; install Docker's command line (Debian: docker.io)") from None
    if done.returncode:
        words = (done.stderr or done.stdout or b"").decode(errors="replace").strip()[-1_000:]
        raise ConfigError(f"{' '.join(command[:2])} failed: {words}")
