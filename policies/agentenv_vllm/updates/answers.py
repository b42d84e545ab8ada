"""What a server answers to one fixed question: tells new weights from old where it cannot say what it holds.

The weaker of the two checks. It can only be asked when generation goes on, and half of an update changes the answer as
well as all of it; what it finds is a server that took an update and serves on as before.
"""

from __future__ import annotations

from dataclasses import dataclass

from agentenv_vllm.api import VLLMApi
from agentenv_vllm.errors import ServerRefusedError

QUESTION = "Two plus three times four is"
TOKENS = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """Greedy tokens, as text, and their logprobs."""

    text: str
    logprobs: tuple[float, ...]


async def ask(api: VLLMApi, model: str, *, timeout: float = 120.0) -> Answer:
    """The model's greedy continuation. Raises `ServerRefusedError` for an answer without logprobs."""
    body = {"model": model, "prompt": QUESTION, "max_tokens": TOKENS, "temperature": 0, "logprobs": 1}
    reply = await api.post("/v1/completions", {**body, "ignore_eos": True}, timeout=timeout)
    try:
        choice = reply["choices"][0]
        return Answer(choice["text"], tuple(map(float, choice["logprobs"]["token_logprobs"])))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ServerRefusedError(
            f"/v1/completions answered {str(reply)[:200]!r} when logprobs were asked", 200
        ) from error
