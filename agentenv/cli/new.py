"""`agentenv new`."""

from __future__ import annotations

import keyword
import re
from enum import StrEnum
from pathlib import Path

import typer

from agentenv.cli.common import out

TEMPLATES = Path(__file__).parent / "templates"


class Kind(StrEnum):
    """What can be made."""

    ENVIRONMENT = "environment"


def add_to(app: typer.Typer) -> None:
    app.command("new")(new)


def new(
    kind: Kind = typer.Argument(help="What to make."),
    name: str = typer.Argument(help="Its name, such as letter_count; the files are called after it."),
    folder: Path = typer.Option(Path(), "--folder", help="Where to put the files."),
    force: bool = typer.Option(False, "--force", help="Overwrite files of the same name."),
) -> None:
    """Write a small, complete environment to start from, and a test of it. It passes its own check.

    Example: agentenv new environment letter_count
    """
    from rich.markup import escape

    from agentenv.errors import ConfigError

    module, title = names(name)
    files = {folder / f"{module}.py": "environment.py.txt", folder / f"test_{module}.py": "test_environment.py.txt"}
    for path in files:
        if path.exists() and not force:
            raise ConfigError(f"{path} is there already; choose another name, or --force to overwrite it")
    folder.mkdir(parents=True, exist_ok=True)
    for path, template in files.items():
        text = (TEMPLATES / template).read_text(encoding="utf-8")
        path.write_text(text.replace("CLASS_NAME", title).replace("MODULE_NAME", module), encoding="utf-8")
        out().print(f"wrote {escape(str(path))}", highlight=False)
    file = escape(str(folder / f"{module}.py"))
    lines = (f"agentenv check {file}", f"agentenv play {file}", f"agentenv eval {file} --policy oracle -n 20")
    out().print("next:", *(f"  {line}" for line in lines), sep="\n", highlight=False)


def names(name: str) -> tuple[str, str]:
    """The module and the class for a name.

    >>> names("Letter-count")
    ('letter_count', 'LetterCount')

    Raises:
        ConfigError: no Python name can be made of it.
    """
    from agentenv.errors import ConfigError

    words = re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name.removesuffix(".py"))
    module, title = "_".join(words).lower(), "".join(word[:1].upper() + word[1:] for word in words)
    separators = re.sub(r"[\w\s.-]", "", name)
    if not module.isidentifier() or keyword.iskeyword(module) or separators or not name.isascii() or "/" in name:
        raise ConfigError(f"{name!r} cannot be a Python name; use letters, digits and _, such as letter_count")
    return module, title
