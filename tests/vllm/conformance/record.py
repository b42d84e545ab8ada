"""`python -m tests.vllm.conformance.record URL`: ask a real vLLM all cases and keep its answers in real_0_32.json.

The server must be vLLM 0.32 over a folder made by `agentenv_tiny.create_policy(folder)`, started as
`tests.support.real_vllm` starts it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from tests.vllm.conformance.cases import CASES
from tests.vllm.conformance.client import Client
from tests.vllm.conformance.compare import recorded

FILE = Path(__file__).with_name("real_0_32.json")


async def record(root_url: str) -> None:
    """Writes FILE."""
    async with Client(root_url) as client:
        answers = {name: recorded(await case.ask(client)) for name, case in CASES.items()}
    lines = [f"{json.dumps(name)}: {json.dumps(answer, ensure_ascii=False)}" for name, answer in answers.items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1]))
