"""A vLLM server as a policy: started and watched by us, or any URL; its weights replaced while it serves.

async with VLLMPolicy("runs/start") as policy:                     # a server of our own, from a model's folder
    completion = await policy.complete([user("2 plus 3")], (), Sampling(max_tokens=16), Session("1", seed=0))
async with VLLMPolicy("http://127.0.0.1:8000/v1") as policy:       # one that runs already
    ...
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentenv_vllm.api import PauseMode, VLLMApi
    from agentenv_vllm.factory import make_policy
    from agentenv_vllm.options import ServerOptions
    from agentenv_vllm.policy import VLLMPolicy, VLLMSettings
    from agentenv_vllm.probe import Mode, Probe
    from agentenv_vllm.process import ManagedServer

__all__ = [
    "ManagedServer",
    "Mode",
    "PauseMode",
    "Probe",
    "ServerOptions",
    "VLLMApi",
    "VLLMPolicy",
    "VLLMSettings",
    "make_policy",
]

_MODULES = {
    "ManagedServer": "process",
    "Mode": "probe",
    "PauseMode": "api",
    "Probe": "probe",
    "ServerOptions": "options",
    "VLLMApi": "api",
    "VLLMPolicy": "policy",
    "VLLMSettings": "policy",
    "make_policy": "factory",
}


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'agentenv_vllm' has no attribute {name!r}; it exports {', '.join(__all__)}")
    return getattr(importlib.import_module(f"agentenv_vllm.{module}"), name)
