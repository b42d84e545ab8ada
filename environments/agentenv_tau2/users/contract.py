"""What a simulated customer does, and the words that end a conversation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self


class Stop(StrEnum):
    """How a customer ends a conversation. Nobody but the environment sees the token."""

    DONE = "###STOP###"
    TRANSFER = "###TRANSFER###"
    OUT_OF_SCOPE = "###OUT-OF-SCOPE###"


@dataclass(frozen=True, slots=True)
class Utterance:
    """What the customer says, without the token that ends the conversation, if there was one."""

    text: str
    stop: Stop | None = None

    @classmethod
    def read(cls, text: str) -> Self:
        """
        >>> Utterance.read("Thank you. ###STOP###")
        Utterance(text='Thank you.', stop=<Stop.DONE: '###STOP###'>)
        """
        stop = next((stop for stop in Stop if stop in text), None)
        for token in Stop:
            text = text.replace(token, "")
        return cls(text.strip(), stop)


class SimulatedUser(ABC):
    """The customer of one episode."""

    @abstractmethod
    async def open(self) -> Utterance:
        """The first words. Raises what `answer` raises."""

    @abstractmethod
    async def answer(self, said: str) -> Utterance:
        """What the customer says to the agent's words.

        Raises:
            EnvironmentFailure: whoever plays the customer fails, hangs, or says nothing.
        """

    def state(self) -> Any:
        """What `take` goes back to. A value: safe to keep."""
        return None

    def take(self, state: Any) -> None:
        """Goes back to a state."""
