"""agentenv_tiny: the embedded policy, a small language model made from scratch and served in process.

    create_policy("runs/start")                          # a folder that transformers and vLLM load
    async with EmbeddedServer("runs/start") as server:   # the same HTTP API as a vLLM server, at server.base_url
        ...

Importing the package is light: torch, transformers and aiohttp are loaded when a name that needs them is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentenv_tiny.embedded import EmbeddedServer
    from agentenv_tiny.engine import Engine, EngineStatistics
    from agentenv_tiny.errors import ContextLengthError, EngineStoppedError, PromptError, TinyPolicyError, WeightsError
    from agentenv_tiny.generation import FinishReason, Generation, Hold, VersionSpan
    from agentenv_tiny.model import TinyConfig, TinyPolicy, build_policy, create_policy, load_policy
    from agentenv_tiny.policy import EmbeddedPolicy, make_policy
    from agentenv_tiny.sampling import SamplingParameters
    from agentenv_tiny.template import CHAT_TEMPLATE, render_chat
    from agentenv_tiny.tokenizer import build_tokenizer

__all__ = [
    "CHAT_TEMPLATE",
    "ContextLengthError",
    "EmbeddedPolicy",
    "EmbeddedServer",
    "Engine",
    "EngineStatistics",
    "EngineStoppedError",
    "FinishReason",
    "Generation",
    "Hold",
    "PromptError",
    "SamplingParameters",
    "TinyConfig",
    "TinyPolicy",
    "TinyPolicyError",
    "VersionSpan",
    "WeightsError",
    "build_policy",
    "build_tokenizer",
    "create_policy",
    "load_policy",
    "make_policy",
    "render_chat",
]

_MODULES = {
    "EmbeddedServer": "embedded",
    "Engine": "engine",
    "EngineStatistics": "engine",
    "ContextLengthError": "errors",
    "EngineStoppedError": "errors",
    "PromptError": "errors",
    "TinyPolicyError": "errors",
    "WeightsError": "errors",
    "FinishReason": "generation",
    "Generation": "generation",
    "Hold": "generation",
    "VersionSpan": "generation",
    "TinyConfig": "model",
    "TinyPolicy": "model",
    "build_policy": "model",
    "create_policy": "model",
    "load_policy": "model",
    "EmbeddedPolicy": "policy",
    "make_policy": "policy",
    "SamplingParameters": "sampling",
    "CHAT_TEMPLATE": "template",
    "render_chat": "template",
    "build_tokenizer": "tokenizer",
}


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'agentenv_tiny' has no attribute {name!r}; it exports {', '.join(__all__)}")
    return getattr(importlib.import_module(f"agentenv_tiny.{module}"), name)
