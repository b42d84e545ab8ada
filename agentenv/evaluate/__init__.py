"""Evaluation with honest numbers: resumable, clustered errors, failures counted apart."""

from agentenv.evaluate.protocol import Protocol, claim_run_folder, read_protocol
from agentenv.evaluate.report import render
from agentenv.evaluate.result import Evaluation, Outcome
from agentenv.evaluate.runner import Progress, draw_tasks, evaluate
from agentenv.evaluate.statistics import Estimate, Proportion, clustered_mean, success_rate, wilson

__all__ = [
    "Estimate",
    "Evaluation",
    "Outcome",
    "Progress",
    "Proportion",
    "Protocol",
    "claim_run_folder",
    "clustered_mean",
    "draw_tasks",
    "evaluate",
    "read_protocol",
    "render",
    "success_rate",
    "wilson",
]
