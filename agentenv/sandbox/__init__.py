"""Places to run what a model wrote: the contract, the limits, and why an execution ended."""

from __future__ import annotations

from agentenv.sandbox.contract import (
    Entry,
    EntryKind,
    OnOutput,
    PythonSession,
    Sandbox,
    SandboxBackend,
    Snapshot,
    Stats,
    Stream,
)
from agentenv.sandbox.errors import SandboxFailed, SandboxFileError
from agentenv.sandbox.limits import MIB, Isolation, Limits, Network, Promise, Promises, promises_named
from agentenv.sandbox.result import Cause, ExecResult, Output, Usage, sentence

__all__ = [
    "Sandbox",
    "SandboxBackend",
    "PythonSession",
    "Limits",
    "MIB",
    "Network",
    "Isolation",
    "Promise",
    "Promises",
    "promises_named",
    "ExecResult",
    "Cause",
    "Output",
    "Usage",
    "sentence",
    "OnOutput",
    "Stream",
    "Entry",
    "EntryKind",
    "Snapshot",
    "Stats",
    "SandboxFailed",
    "SandboxFileError",
]
