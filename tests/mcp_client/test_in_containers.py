"""A server in a container of a real engine: the same as in a local sandbox."""

from __future__ import annotations

import pytest

from agentenv.errors import ToolFailure
from agentenv.mcp.env import MCPEnv
from tests.mcp_client.conftest import RUDE, TASK, call, said
from tests.support.docker_engine import DockerEngine

pytestmark = pytest.mark.xdist_group("docker")


async def test_a_server_in_a_container_is_called_and_its_death_is_told(running_docker: DockerEngine) -> None:
    options = {"url": running_docker.url, "warm": 0}
    env = MCPEnv(RUDE | {"command": ["python3", "rude.py"], "sandbox": "docker", "sandbox_options": options})
    await env.reset(task=TASK, seed=0)
    assert await said(env, "ok") == "fine"
    with pytest.raises(ToolFailure, match="the disk is on fire"):
        await call(env, "die")
    await env.close()
