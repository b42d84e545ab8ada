"""From episode records to training data: the token graph, transitions, and rows. Pure functions, no torch."""

from __future__ import annotations

from agentenv.trajectory.graph import Drift, Links, ModelCall, TokenGraph
from agentenv.trajectory.rows import Excluded, Exclusion, Row, RowSet, RowView, build_rows
from agentenv.trajectory.transitions import Transition, group_id, transitions

__all__ = [
    "Drift",
    "Excluded",
    "Exclusion",
    "Links",
    "ModelCall",
    "Row",
    "RowSet",
    "RowView",
    "TokenGraph",
    "Transition",
    "build_rows",
    "group_id",
    "transitions",
]
