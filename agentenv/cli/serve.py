"""`agentenv serve`: commands that stay and answer requests."""

from __future__ import annotations

import typer

from agentenv.cli import serve_environment, serve_gateway


def add_to(app: typer.Typer) -> None:
    serve = typer.Typer(name="serve", no_args_is_help=True, help="Serve models or environments over HTTP.")
    serve_gateway.add_to(serve)
    serve_environment.add_to(serve)
    app.add_typer(serve)
