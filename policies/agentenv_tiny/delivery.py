"""Handing answers from the sampling thread to the event loops that wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

from agentenv_tiny.generation import ActiveSequence, Generation

T = TypeVar("T")


def deliver(answers: Sequence[tuple[ActiveSequence, Generation]]) -> None:
    """Give each its answer with one call for each event loop, since waking a loop is what costs."""
    outbox: dict[asyncio.AbstractEventLoop, list[tuple[ActiveSequence, Generation]]] = {}
    for sequence, generation in answers:
        outbox.setdefault(sequence.loop, []).append((sequence, generation))
    for loop, batch in outbox.items():
        try:
            loop.call_soon_threadsafe(_hand_over, batch)
        except RuntimeError:  # the caller's loop is closed: nobody is waiting any more
            continue


def resolver(answer: asyncio.Future[Generation]) -> Callable[[Generation], None]:
    """Sets the result of `answer`, unless its caller has given up."""

    def resolve(generation: Generation) -> None:
        if not answer.done():
            answer.set_result(generation)

    return resolve


class ThreadCall:
    """A function for the sampling thread to run between two steps, and the future of its result."""

    def __init__(self, function: Callable[[], T], done: Future[T]) -> None:
        self._run = partial(_run, function, done)
        self.fail: Callable[[Exception], None] = partial(_fail, done)

    def run(self) -> None:
        """Call the function and resolve the future, unless it was cancelled."""
        self._run()


def _run(function: Callable[[], T], done: Future[T]) -> None:
    if done.set_running_or_notify_cancel():
        done.set_result(function())


def _fail(done: Future[T], error: Exception) -> None:
    if not done.done():
        done.set_exception(error)


def _hand_over(answers: Sequence[tuple[ActiveSequence, Generation]]) -> None:
    for sequence, generation in answers:
        sequence.deliver(generation)
