"""Whether what a server says of its tokens can be trained on: of which distribution its log-probabilities are.

vLLM's are raw unless it is told otherwise: of the model at temperature 1, before top-k and top-p. Of an agent that
samples at any other temperature they are wrong, and nothing in an answer shows it. So the same token is asked for at
two temperatures: what lies between the likeliest tokens halves when the temperature doubles, unless it is raw.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import aiohttp

from agentenv.gateway.router import Replica, Router
from agentenv.gateway.wirejson import dumps, loads

_LOG = logging.getLogger("agentenv.gateway")
_SECONDS = 30.0
_TEMPERATURES = (1.0, 2.0)
_ALTERNATIVES = 5
_TELLING = 0.05
"""Likelihoods nearer to one another than this do not tell; half-precision models scatter by a hundredth."""


async def warn_of_raw_logprobs(router: Router, model: str | None = None) -> None:
    """Logs a warning for each living replica whose log-probabilities are raw.

    A replica that cannot tell, because it is no vLLM server or does not answer, is passed over in silence. `model` is
    what to ask for; by default the first that a replica serves.
    """
    living = [replica for replica in router.replicas if replica.alive]
    raw = await asyncio.gather(*(has_raw_logprobs(router, replica, model) for replica in living))
    for replica in (replica for replica, is_raw in zip(living, raw, strict=True) if is_raw):
        _LOG.warning(
            "%s gives the log-probabilities of temperature 1 whatever temperature it samples at: what is recorded at "
            "any other cannot be trained on. Start it with --logprobs-mode processed_logprobs",
            replica.url,
        )


async def has_raw_logprobs(router: Router, replica: Replica, model: str | None = None) -> bool | None:
    """Whether a replica's log-probabilities are raw; `None` where it does not tell. Costs two tokens."""
    try:
        name = model or await _first_model(router, replica)
        cool, hot = [await _spread(router, replica, name, temperature) for temperature in _TEMPERATURES]
    except (aiohttp.ClientError, OSError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None
    if cool < _TELLING:
        return None
    return hot > cool * (1 + _TEMPERATURES[0] / _TEMPERATURES[1]) / 2


async def _first_model(router: Router, replica: Replica) -> str:
    async with router.get(replica, "/v1/models", aiohttp.ClientTimeout(total=_SECONDS)) as response:
        return str(loads(await response.read())["data"][0]["id"])


async def _spread(router: Router, replica: Replica, model: str, temperature: float) -> float:
    """How much likelier the likeliest token after a greeting is than the third, as a difference of logarithms."""
    body = {"model": model, "prompt": "Hello", "max_tokens": 1, "logprobs": _ALTERNATIVES, "temperature": temperature}
    reply = await router.post(replica, "/v1/completions", dumps(body), _SECONDS)
    answer: Any = loads(reply.body)
    ranked = sorted(answer["choices"][0]["logprobs"]["top_logprobs"][0].values(), reverse=True)
    return float(ranked[0] - ranked[2])
