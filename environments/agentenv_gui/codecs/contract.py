"""What a dialect is: words for the actions of `agentenv_gui.actions`, both ways, for a surface of one size."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from agentenv.errors import AgentenvError
from agentenv.messages import ToolCall, Wire
from agentenv.tools import ToolErrorKind, ToolSpec
from agentenv_gui.actions import Action
from agentenv_gui.codecs.space import Space


class DialectError(AgentenvError):
    """Something a dialect does not understand, or cannot say. The message is for the policy.

    `kind` is what is wrong with a call, as an environment counts it.
    """

    def __init__(self, message: str, kind: ToolErrorKind = ToolErrorKind.INVALID_ARGUMENTS) -> None:
        super().__init__(message)
        self.kind = kind


class Dialect(ABC):
    """A dialect, as one or more function tools that any chat policy can call.

    Attributes:
        name: by which a configuration names it. space: in which it gives places and distances.
    """

    name: ClassVar[str]

    def __init__(self, space: Space) -> None:
        self.space = space

    @property
    @abstractmethod
    def tools(self) -> tuple[ToolSpec, ...]:
        """What a policy is offered."""

    @abstractmethod
    def decode(self, call: ToolCall) -> tuple[Action, ...]:
        """The actions that a call asks for: several are a batch, to be carried out in this order.

        Raises:
            DialectError: it is no call of one of the tools. Never anything else.
        """

    @abstractmethod
    def encode(self, actions: Sequence[Action], id: str = "call") -> tuple[ToolCall, ...]:
        """The calls that ask for the actions, as few as the dialect needs. Places are rounded to the dialect's units.

        Args:
            id: how the ids of the calls begin; their numbers follow.

        Raises:
            DialectError: the dialect has no words for one of them.
        """


class Native(ABC):
    """A dialect that a vendor's own interface speaks too: the same words, in other wrapping.

    A gateway needs this to let a client of that interface play with any chat policy, and the reverse.
    """

    @property
    @abstractmethod
    def declaration(self) -> Wire:
        """The entry of a request's `tools` that offers it."""

    @abstractmethod
    def call_of(self, item: Mapping[str, Any]) -> ToolCall:
        """The call that an item of the interface is. What is in it is checked when it is decoded.

        Raises:
            DialectError: it is no such item.
        """

    @abstractmethod
    def item_of(self, call: ToolCall) -> Wire:
        """The item of the interface that a call is.

        Raises:
            DialectError: it is no call of one of the tools.
        """
