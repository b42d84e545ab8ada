"""What can go wrong while learning. Every message names the row, step or file and says what to do about it."""

from __future__ import annotations

from agentenv.errors import AgentenvError


class LearnError(AgentenvError):
    """Root of the learner's errors."""


class InvalidRowError(LearnError):
    """A training row the learner refuses: a value that is not finite, nothing sampled, or longer than the context."""


class DivergedError(LearnError):
    """A loss or gradient that is not finite. The optimizer step was not taken."""


class StoppedByAlarmError(LearnError):
    """A run that one of its alarms ended before its time. It has a checkpoint, and the same command goes on."""


class OutOfMemoryError(LearnError):
    """A batch that did not fit into memory, not even in halves."""


class UpdateStoppedError(LearnError):
    """An update that was told to stop before it was complete."""


class CheckpointError(LearnError):
    """A checkpoint that cannot be read, or that belongs to another configuration."""
