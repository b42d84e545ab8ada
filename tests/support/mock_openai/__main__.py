"""The mock server as a process: prints one line of JSON with its base URL when it listens, runs until it is stopped.

python -m tests.support.mock_openai --script benchmarks.workload:answer --latency 1.0 --fault rate_limited=0.05
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import json
import resource
import signal

from tests.support.mock_openai.faults import Fault, FaultRule
from tests.support.mock_openai.server import Latency, MockOpenAI, Script, uniform
from tests.support.mock_openai.wire import ChatRequest


def echo(request: ChatRequest) -> str:
    """The default script: the model repeats the last message."""
    return request.last_text


def _script(text: str) -> Script:
    module, _, name = text.partition(":")
    script: Script = getattr(importlib.import_module(module), name)
    return script


def _latency(text: str) -> Latency:
    low, _, high = text.partition("-")
    return uniform(float(low), float(high)) if high else float(low)


def _fault(text: str) -> FaultRule:
    name, _, probability = text.partition("=")
    return FaultRule(Fault(name), probability=float(probability or 1.0))


async def _serve(arguments: argparse.Namespace) -> None:
    server = MockOpenAI(
        arguments.script,
        latency=arguments.latency,
        faults=arguments.fault,
        seed=arguments.seed,
        keep_requests=False,
    )
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await server.start(arguments.port)
    print(json.dumps({"base_url": server.base_url}), flush=True)
    await stop.wait()
    await server.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.mock_openai", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--script", type=_script, default=echo, help="module:function of a request; default: echo")
    parser.add_argument("--latency", type=_latency, default=0.0, help="seconds, or LOW-HIGH for a uniform one")
    parser.add_argument("--fault", type=_fault, action="append", default=[], help="NAME=PROBABILITY; may be repeated")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.freeze()  # a server that keeps nothing gains nothing from scanning what it imported
    asyncio.run(_serve(arguments))


if __name__ == "__main__":
    main()
