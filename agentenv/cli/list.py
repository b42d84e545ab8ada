"""`agentenv list`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import typer

from agentenv.cli.common import err, out, plain, print_json

if TYPE_CHECKING:
    from agentenv.plugins import Plugins


class Kind(StrEnum):
    """What can be listed."""

    ENVIRONMENTS = "environments"
    POLICIES = "policies"
    SANDBOXES = "sandboxes"


def add_to(app: typer.Typer) -> None:
    app.command("list")(list_)


def list_(
    kind: Kind = typer.Argument(Kind.ENVIRONMENTS, help="What to list."),
    tag: str | None = typer.Option(None, help="Only environments with this tag."),
    json: bool = typer.Option(False, "--json", help="JSON on standard output."),
) -> None:
    """List the environments, the policies, or the sandbox backends, that are installed.

    Example: agentenv list environments --tag tools
    """
    match kind:
        case Kind.ENVIRONMENTS:
            _environments(tag, json=json)
        case Kind.POLICIES:
            from agentenv.policy.registry import POLICIES

            _plugins(POLICIES, "policy", json=json)
        case Kind.SANDBOXES:
            from agentenv.sandbox.registry import BACKENDS

            _plugins(BACKENDS, "sandboxes", json=json)


def _environments(tag: str | None, *, json: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    from agentenv.errors import ConfigError, nearest
    from agentenv.registry import REGISTRY

    specs = REGISTRY.list()
    for name, why in sorted(REGISTRY.broken.items()):
        err().print(f"the plugin {name} cannot be loaded: {why}", style="yellow", markup=False)
    if tag is not None:
        tags = {known for spec in specs for known in spec.tags}
        if tag not in tags:
            raise ConfigError(
                f"no environment has the tag {tag!r}.{nearest(tag, tags)} Tags: {', '.join(sorted(tags))}."
            )
        specs = [spec for spec in specs if tag in spec.tags]
    if json:
        print_json([plain(spec) for spec in specs])
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("environment", no_wrap=True)  # an id is there to be copied
    table.add_column("about", overflow="fold", ratio=2)
    table.add_column("tags", overflow="fold", ratio=1)
    for spec in specs:
        table.add_row(f"[cyan]{escape(spec.id)}[/cyan]", escape(spec.description), escape(", ".join(spec.tags)))
    out().print(table)
    err().print(f"[dim]{len(specs)} environments; agentenv describe ID tells more[/dim]")


def _plugins(plugins: Plugins, title: str, *, json: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    from agentenv.errors import AgentenvError

    rows = []
    for name in plugins.names():
        try:
            rows.append({"name": name, "description": plugins.describe(name), "problem": None})
        except AgentenvError as error:
            rows.append({"name": name, "description": "", "problem": str(error)})
    if json:
        print_json(rows)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(title)
    table.add_column("about", overflow="fold")
    for row in rows:
        about = (
            escape(row["description"] or "") if row["problem"] is None else f"[yellow]{escape(row['problem'])}[/yellow]"
        )
        table.add_row(f"[cyan]{escape(row['name'] or '')}[/cyan]", about)
    out().print(table)
