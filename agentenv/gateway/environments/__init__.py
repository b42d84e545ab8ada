"""Environments over HTTP: `EnvironmentServer` serves one, `RemoteEnv` plays it from anywhere."""

from agentenv.gateway.environments.client import RemoteEnv, ServerUnreachable, SessionLost
from agentenv.gateway.environments.config import ServerConfig
from agentenv.gateway.environments.remote_tasks import RemoteTasks, remote_spec
from agentenv.gateway.environments.server import EnvironmentServer

__all__ = [
    "EnvironmentServer",
    "RemoteEnv",
    "RemoteTasks",
    "ServerConfig",
    "ServerUnreachable",
    "SessionLost",
    "remote_spec",
]
