"""`agentenv serve`: commands that stay and answer requests."""

from __future__ import annotations

import typer


def add_to(app: typer.Typer) -> None:
    serve = typer.Typer(name="serve", no_args_is_help=True, help="Serve models or environments over HTTP.")
    app.add_typer(serve)
