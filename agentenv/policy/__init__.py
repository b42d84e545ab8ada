"""Policies: whatever answers messages. The contract, sampling parameters, and the policies that need no server."""

from agentenv.policy.contract import Completion, Policy, Sampling, Session, TrainablePolicy

__all__ = ["Completion", "Policy", "Sampling", "Session", "TrainablePolicy"]
