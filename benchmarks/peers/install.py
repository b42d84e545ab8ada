"""Installs each peer, at a fixed version, into a virtual environment of its own."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import PEERS


@dataclass(frozen=True, slots=True)
class Peer:
    """A library that ours is compared with."""

    name: str
    requirements: tuple[str, ...]
    runner: str = ""
    """Module run inside its virtual environment, if there is one."""

    @property
    def version(self) -> str:
        """Of the library itself, the first requirement."""
        return self.requirements[0].partition("==")[2]

    @property
    def python(self) -> Path:
        return PEERS / self.name / "bin" / "python"

    def install(self) -> None:
        """Make the environment unless these very requirements are installed already."""
        folder, wanted = PEERS / self.name, "\n".join(self.requirements)
        stamp = folder / "requirements.txt"
        if stamp.exists() and stamp.read_text() == wanted:
            return
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(self.python), "-m", "pip", "install", "--quiet", *self.requirements], check=True)
        stamp.write_text(wanted)


VERIFIERS = Peer("verifiers", ("verifiers==0.1.14", "openai==3.52.0"), "benchmarks.peers.verifiers_runner")
INSPECT = Peer("inspect-ai", ("inspect-ai==0.3.285", "openai==3.52.0"), "benchmarks.peers.inspect_runner")
LITELLM = Peer("litellm", ("litellm[proxy]==1.106.0",))
AGENT_LIGHTNING = Peer("agent-lightning", ("agentlightning==0.3.0",), "benchmarks.peers.agent_lightning_runner")
OPENENV = Peer("openenv", ("openenv==0.10.0", "openenv-core==0.3.0"), "benchmarks.peers.openenv_runner")
TRL = Peer("trl", ("trl==1.16.0", "torch==2.13.0", "transformers==5.23.0"), "benchmarks.peers.trl_runner")
SWEREX = Peer("swe-rex", ("swe-rex==1.4.0",), "benchmarks.peers.swerex_runner")
PEERS_INSTALLED = (VERIFIERS, INSPECT)
