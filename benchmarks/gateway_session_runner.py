"""Our gateway in this process, to be asked what it holds: for every line on standard input a line of JSON.

python -m benchmarks.gateway_session_runner http://127.0.0.1:8000 [--trace]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import tracemalloc

from agentenv.gateway import Gateway, GatewayConfig
from benchmarks.measure import resident_bytes


async def main(upstream: str) -> None:
    async with Gateway(GatewayConfig([upstream], port=0)) as gateway:
        print(json.dumps({"url": gateway.url}), flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            gc.collect()
            traced = tracemalloc.get_traced_memory()[0] if tracemalloc.is_tracing() else 0
            held = {"sessions": len(gateway.sessions.open), "resident": resident_bytes(), "traced": traced}
            print(json.dumps(held), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("upstream")
    parser.add_argument("--trace", action="store_true")
    given = parser.parse_args()
    if given.trace:
        tracemalloc.start()
    asyncio.run(main(given.upstream))
