"""`python -m agentenv_tiny FOLDER`: make an untrained policy there; with `--serve`, serve what the folder holds."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import fields
from pathlib import Path

from agentenv_tiny.embedded import EmbeddedServer
from agentenv_tiny.model import TinyConfig, create_policy


def main() -> None:
    """Read the command line, make the folder if it holds no model, and serve it if asked."""
    parser = argparse.ArgumentParser(
        prog="python -m agentenv_tiny",
        description=__doc__,
        epilog="example: python -m agentenv_tiny runs/start --seed 1 --serve --port 8000",
    )
    parser.add_argument("folder", type=Path, help="where the policy is, or will be made")
    parser.add_argument("--serve", action="store_true", help="serve it on the loopback interface until Ctrl-C")
    parser.add_argument("--port", type=int, default=0, help="port to serve at (default: any free one)")
    for field in fields(TinyConfig):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    options = vars(parser.parse_args())
    folder, serve, port = options.pop("folder"), options.pop("serve"), options.pop("port")
    if not (folder / "config.json").is_file():
        create_policy(folder, TinyConfig(**options))
        print(f"made an untrained policy in {folder}")  # noqa: T201
    if serve:
        try:
            asyncio.run(_serve(folder, port))
        except KeyboardInterrupt:
            return


async def _serve(folder: Path, port: int) -> None:
    async with EmbeddedServer(folder, port=port) as server:
        print(f"serving {server.model_name} at {server.base_url} (Ctrl-C ends it)", flush=True)  # noqa: T201
        await asyncio.Event().wait()


if __name__ == "__main__":
    main()
