"""agentenv: a Gymnasium-style library for agentic reinforcement learning with language models.

Everything an environment author writes against is importable from here; each name is loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentenv.chat import ChatEnv
    from agentenv.env import Action, Env, Info, Observation, StepResult, SyncEnv
    from agentenv.episode import Episode, EpisodeKey, Turn
    from agentenv.errors import AgentenvError, SandboxError, VerifierError
    from agentenv.messages import Message, Part, Role, ToolCall, assistant, system, tool_result, user
    from agentenv.outcome import Status, StopReason
    from agentenv.registry import EnvSpec, list_environments, make, register, spec
    from agentenv.rewards import Component, Reward, reward
    from agentenv.tasks import ListTasks, ProceduralTasks, Task, TaskSet
    from agentenv.tokens import TokenRecord, VersionSpan
    from agentenv.tool_env import ToolEnv
    from agentenv.tool_rules import ToolRules
    from agentenv.tools import Tool, ToolSet, ToolSpec, tool
    from agentenv.wrappers import Limited, Transformed, Wrapper

__version__ = "0.1.0"

_HOMES = {
    "agentenv.chat": ("ChatEnv",),
    "agentenv.env": ("Action", "Env", "Info", "Observation", "StepResult", "SyncEnv"),
    "agentenv.episode": ("Episode", "EpisodeKey", "Turn"),
    "agentenv.errors": ("AgentenvError", "SandboxError", "VerifierError"),
    "agentenv.messages": ("Message", "Part", "Role", "ToolCall", "assistant", "system", "tool_result", "user"),
    "agentenv.outcome": ("Status", "StopReason"),
    "agentenv.registry": ("EnvSpec", "list_environments", "make", "register", "spec"),
    "agentenv.rewards": ("Component", "Reward", "reward"),
    "agentenv.tasks": ("ListTasks", "ProceduralTasks", "Task", "TaskSet"),
    "agentenv.tokens": ("TokenRecord", "VersionSpan"),
    "agentenv.tool_env": ("ToolEnv",),
    "agentenv.tool_rules": ("ToolRules",),
    "agentenv.tools": ("Tool", "ToolSet", "ToolSpec", "tool"),
    "agentenv.wrappers": ("Limited", "Transformed", "Wrapper"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
__all__ = [
    "__version__",
    "Action",
    "AgentenvError",
    "ChatEnv",
    "Component",
    "Env",
    "EnvSpec",
    "Episode",
    "EpisodeKey",
    "Info",
    "Limited",
    "ListTasks",
    "Message",
    "Observation",
    "Part",
    "ProceduralTasks",
    "Reward",
    "Role",
    "SandboxError",
    "Status",
    "StepResult",
    "StopReason",
    "SyncEnv",
    "Task",
    "TaskSet",
    "TokenRecord",
    "Tool",
    "ToolCall",
    "ToolEnv",
    "ToolRules",
    "ToolSet",
    "ToolSpec",
    "Transformed",
    "Turn",
    "VerifierError",
    "VersionSpan",
    "Wrapper",
    "assistant",
    "list_environments",
    "make",
    "register",
    "reward",
    "spec",
    "system",
    "tool",
    "tool_result",
    "user",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'agentenv' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
