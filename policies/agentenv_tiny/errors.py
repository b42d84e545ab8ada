"""What can go wrong in the embedded policy. Every message says what to do about it."""

from __future__ import annotations


class TinyPolicyError(Exception):
    """Base of the errors raised by `agentenv_tiny`."""


class WeightsError(TinyPolicyError):
    """The weights offered do not fit the model that is served, or hold values that are not finite."""


class PromptError(TinyPolicyError, ValueError):
    """The prompt is not one the model can read: it is empty, or holds ids outside the vocabulary."""


class ContextLengthError(PromptError):
    """Prompt and requested answer together are longer than the model's context."""


class EngineStoppedError(TinyPolicyError):
    """The sampling thread has stopped or died, so nothing can be generated."""
