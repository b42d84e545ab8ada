"""A policy behind any OpenAI-compatible URL: `--policy openai:http://127.0.0.1:8000/v1`."""

from agentenv_openai.limiter import AdaptiveLimiter
from agentenv_openai.policy import Call, EndpointStats, OpenAIPolicy, make_policy
from agentenv_openai.retry import Retry, TryAgain

__all__ = ["AdaptiveLimiter", "Call", "EndpointStats", "OpenAIPolicy", "Retry", "TryAgain", "make_policy"]
