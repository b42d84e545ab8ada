"""`agentenv describe`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import typer

from agentenv.cli.common import find_environment, out, plain, print_json, settings_of

if TYPE_CHECKING:
    from agentenv.registry import EnvSpec


def add_to(app: typer.Typer) -> None:
    app.command("describe")(describe)


def describe(
    context: typer.Context,
    id: str = typer.Argument(help="An environment's id, or path/to/file.py:Class."),
    seed: int = typer.Option(0, help="Which first task to show."),
    json: bool = typer.Option(False, "--json", help="JSON on standard output."),
) -> None:
    """Show what an environment is: its specification, its tools, and how an episode opens.

    Example: agentenv describe calculator-v0 --env.level 2
    """
    settings = settings_of(context, env="arguments of the environment")
    spec = find_environment(id, settings["env"])
    facts = asyncio.run(_facts(spec, seed))
    if json:
        print_json(facts)
    else:
        _show(spec, facts)


async def _facts(spec: EnvSpec, seed: int) -> dict[str, Any]:
    """The specification and the opening of one episode."""
    from agentenv.errors import UnsupportedError

    env = spec.make()
    try:
        observation, _ = await env.reset(seed=seed)
        try:
            oracle = env.oracle().to_wire()
        except UnsupportedError:
            oracle = None
        return {
            "spec": plain(spec),
            "fingerprint": spec.fingerprint(),
            "has_oracle": oracle is not None,
            "tools": [tool.to_wire() for tool in observation.tools],
            "task_id": env.task.id,
            "messages": [message.to_wire() for message in observation.messages],
        }
    finally:
        await env.close()


def _show(spec: EnvSpec, facts: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    from agentenv.messages import Message
    from agentenv.policy.human import show_message

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    low, high = spec.reward_range
    rows = {
        "id": spec.id,
        "about": spec.description,
        "made by": spec.entry_point,
        "arguments": ", ".join(f"{key}={value!r}" for key, value in spec.kwargs.items()) or "none",
        "turns": "no limit" if spec.max_turns is None else f"at most {spec.max_turns}",
        "return": f"{low:g} … {high:g}",
        "deterministic": "yes" if spec.deterministic else "no",
        "tags": ", ".join(spec.tags) or "none",
        "oracle": "yes" if facts["has_oracle"] else "no",
        "fingerprint": facts["fingerprint"],
    }
    for name, value in rows.items():
        table.add_row(name, Text(value))
    for tool in facts["tools"]:
        function = tool["function"]
        parameters = function["parameters"].get("properties", {})
        signature = ", ".join(f"{name}: {schema.get('type', 'any')}" for name, schema in parameters.items())
        table.add_row("tool", Text(f"{function['name']}({signature})  {function['description']}"))
    out().print(table)
    out().print(Text(f"\nAn episode opens (task {facts['task_id']}):", style="dim"))
    for message in facts["messages"]:
        show_message(out(), Message.from_wire(message))
