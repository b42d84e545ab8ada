"""`python -m tests.support.fake_vllm FOLDER [vLLM's flags] [--profile RELEASE]`: serve until SIGTERM or SIGINT.

SIGUSR1 kills the engine: requests get 500 and `/health` 503, and like vLLM's server this one then ends by itself.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from tests.support.fake_vllm.options import CommandLine, read_command_line
from tests.support.fake_vllm.server import FakeVLLM

READY = "fake vLLM ready at"

SECONDS_AFTER_ENGINE = 0.5
"""How long the HTTP server outlives its engine, as seen with 0.32."""


async def serve(command: CommandLine) -> None:
    """Prints the ready line when requests are taken."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with FakeVLLM.from_options(command.folder, command.options, host=command.host, port=command.port) as server:

        def kill_engine() -> None:
            server.kill_engine()
            loop.call_later(SECONDS_AFTER_ENGINE, ended.set)

        loop.add_signal_handler(signal.SIGUSR1, kill_engine)
        print(f"{READY} {server.base_url}", flush=True)
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(serve(read_command_line(sys.argv[1:], os.environ)))
