"""agent-lightning's LLM proxy as it starts it itself, with a store in memory, in the one process that is measured.

It is told to run in a thread, which its in-memory store allows; its default of a process beside a store server would
cost it more. Everything else is its default: the middlewares that read the rollout from the URL and turn streams off,
the callbacks that ask for token ids and write spans to the store. Spans are only kept for rollouts the store knows, so
some are started beforehand; where calls to them go is written to a file before the server listens.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
from pathlib import Path

ROLLOUTS = 256


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rollouts", type=Path, required=True)
    given = parser.parse_args()
    logging.disable(logging.WARNING)

    from agentlightning.llm_proxy import LLMProxy
    from agentlightning.store.memory import InMemoryLightningStore

    store = InMemoryLightningStore(thread_safe=True)
    rollouts = [await store.start_rollout(input={"number": number}) for number in range(ROLLOUTS)]
    prefixes = [f"/rollout/{one.rollout_id}/attempt/{one.attempt.attempt_id}" for one in rollouts]
    given.rollouts.write_text(json.dumps(prefixes))
    parameters = {"model": "hosted_vllm/mock", "api_base": f"{given.upstream}/v1", "api_key": "none"}
    proxy = LLMProxy(
        port=given.port,
        host="127.0.0.1",
        model_list=[{"model_name": "mock", "litellm_params": parameters}],
        store=store,
        launch_mode="thread",
    )
    await proxy.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
