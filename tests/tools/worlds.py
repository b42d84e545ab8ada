"""A world in a test: made, and its tools called as a policy calls them."""

from __future__ import annotations

import json
import random
from typing import Any, TypeVar

from agentenv.messages import ToolCall
from agentenv.tools import ToolOutcome, ToolSet
from agentenv_tools.world import World

Kind = TypeVar("Kind", bound=World)


def made(kind: type[Kind], seed: int = 0, **options: Any) -> Kind:
    return kind(random.Random(seed), **options)


async def outcome_of(world: World, name: str, **arguments: Any) -> ToolOutcome:
    (outcome,) = await ToolSet(world.tools()).call_all([ToolCall("c", name, json.dumps(arguments))])
    return outcome


async def called(world: World, name: str, **arguments: Any) -> Any:
    """What a call answers, read as JSON where it is JSON. The call has to work."""
    outcome = await outcome_of(world, name, **arguments)
    assert outcome.error is None, outcome.message.text
    try:
        return json.loads(outcome.message.text)
    except ValueError:
        return outcome.message.text


async def refusal(world: World, name: str, **arguments: Any) -> str:
    """What is said to a call that does not work. It has to leave the world as it is."""
    before = dict(world.facts())
    outcome = await outcome_of(world, name, **arguments)
    assert outcome.error is not None, outcome.message.text
    assert world.facts() == before
    return outcome.message.text
