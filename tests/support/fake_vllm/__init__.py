"""A fake vLLM server: the routes, fields, errors and habits of seven releases, with real sampling from a tiny model.

    python -m tests.support.fake_vllm FOLDER --profile 0.32 --port 8000  # and vLLM's own flags; says when it is ready

    async with FakeVLLM(folder, profile="0.32") as server: ...  # in this process
    async with FakeVLLMProcess(folder, profile="0.32") as server: ...  # in one of its own, that can be killed

What it cannot do (forced tool calls, structured outputs, penalties, ...) it refuses with status 501, so that no test
passes for the wrong reason.
"""

from __future__ import annotations

from tests.support.fake_vllm.options import LogprobsMode, ServerOptions
from tests.support.fake_vllm.process import FakeVLLMProcess
from tests.support.fake_vllm.profiles import PROFILES, Gate, Profile, Route
from tests.support.fake_vllm.server import FakeVLLM

__all__ = ["PROFILES", "FakeVLLM", "FakeVLLMProcess", "Gate", "LogprobsMode", "Profile", "Route", "ServerOptions"]
