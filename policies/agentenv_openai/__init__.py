"""A policy behind any OpenAI-compatible URL: `--policy openai:http://127.0.0.1:8000/v1`."""

from agentenv_openai.limiter import AdaptiveLimiter
from agentenv_openai.policy import EndpointStats, OpenAIPolicy, make_policy
from agentenv_openai.retry import Retry

__all__ = ["AdaptiveLimiter", "EndpointStats", "OpenAIPolicy", "Retry", "make_policy"]
