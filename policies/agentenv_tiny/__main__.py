"""`python -m agentenv_tiny FOLDER`: makes a fresh, untrained embedded policy that transformers and vLLM can load."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentenv_tiny.model import TinyConfig, create_policy


_DEFAULT = TinyConfig()


def create(
    folder: Annotated[Path, typer.Argument(help="Where to write it; must not hold a model yet.")],
    layers: int = _DEFAULT.layers,
    hidden: int = _DEFAULT.hidden,
    heads: int = _DEFAULT.heads,
    context: Annotated[int, typer.Option(help="Most tokens of a conversation.")] = _DEFAULT.context,
    seed: Annotated[int, typer.Option(help="Of the initial weights.")] = 0,
) -> None:
    """Makes a fresh, untrained embedded policy, for example: python -m agentenv_tiny runs/start --hidden 64"""
    if (folder / "config.json").exists():
        raise typer.BadParameter(f"{folder} already holds a model; name another folder")
    try:
        config = TinyConfig(
            layers=layers, hidden=hidden, intermediate=3 * hidden, heads=heads, context=context, seed=seed
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    policy = create_policy(folder, config)
    typer.echo(f"{policy.model.num_parameters():,} parameters in {folder}")


if __name__ == "__main__":
    typer.run(create)
