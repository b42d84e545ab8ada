"""What the commands share: consoles, errors, settings with a dot, environments and policies by name."""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    import pydantic
    from rich.console import Console

    from agentenv.policy.contract import Policy
    from agentenv.registry import EnvSpec
    from agentenv.sandbox import SandboxBackend

_SETTING = re.compile(r"^--(?P<key>[A-Za-z_][\w-]*(?:\.[\w-]+)+)(?:=(?P<text>.*))?$", re.DOTALL)

INTERRUPTED = 130
"""The exit code of Ctrl-C, as a shell gives it."""


class Interrupted(Exception):
    """Ctrl-C, where a command can say what is kept. Elsewhere `KeyboardInterrupt` is left to `agentenv.cli.run`."""


Setting = tuple[str, str]
"""A dotted key and the text given for it."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """What stands outside a command's own options: whether to debug, and the dotted settings in their order."""

    debug: bool = False
    settings: tuple[Setting, ...] = ()


@functools.cache
def out() -> Console:
    """Standard output: results."""
    from rich.console import Console

    return Console()


@functools.cache
def err() -> Console:
    """Standard error: progress, warnings and errors."""
    from rich.console import Console

    return Console(stderr=True)


def program() -> str:
    """How this program can be called again: `agentenv`, or as it was called where that is not on the search path."""
    import os
    import shutil

    called = sys.argv[0]
    if shutil.which("agentenv") or not os.path.isfile(called):
        return "agentenv"
    path = os.path.relpath(called)
    return f"{os.path.relpath(sys.executable)} -m agentenv" if os.path.basename(path) == "__main__.py" else path


def show_warnings() -> None:
    """Sends what agentenv logs to standard error through rich, so that it does not tear progress bars apart."""
    import logging

    from rich.logging import RichHandler

    handler = RichHandler(console=err(), show_time=False, show_path=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])


def print_json(value: Any) -> None:
    """Writes one JSON document to standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def plain(model: pydantic.BaseModel) -> Any:
    """A model as JSON values, infinities as null."""
    return json.loads(model.model_dump_json())


def take_settings(arguments: Sequence[str]) -> tuple[list[Setting], list[str]]:
    """Splits `--dotted.key VALUE` and `--dotted.key=VALUE` off the arguments, wherever they stand before a `--`.

    >>> take_settings(["eval", "--env.level", "2", "calculator-v0"])
    ([('env.level', '2')], ['eval', 'calculator-v0'])
    """
    from agentenv.errors import ConfigError

    settings: list[Setting] = []
    rest: list[str] = []
    position = 0
    while position < len(arguments):
        argument = arguments[position]
        position += 1
        if argument == "--":
            return settings, [*rest, *arguments[position - 1 :]]
        found = _SETTING.match(argument)
        if found is None:
            rest.append(argument)
            continue
        text = found["text"]
        if text is None:
            if position == len(arguments) or arguments[position].startswith("--"):
                raise ConfigError(f"{argument} needs a value: {argument} VALUE")
            text = arguments[position]
            position += 1
        settings.append((found["key"], text))
    return settings, rest


def settings_of(context: typer.Context, **groups: str) -> dict[str, list[Setting]]:
    """The settings by the group they are in (what is before the first dot), the group taken off their keys.

    Args:
        groups: the groups this command has, and what they are for.

    Raises:
        ConfigError: a setting of another group; the message names the nearest.
    """
    from agentenv.errors import ConfigError, nearest

    found: dict[str, list[Setting]] = {group: [] for group in groups}
    for key, text in _invocation(context).settings:
        group, _, rest = key.partition(".")
        if group not in found:
            known = ", ".join(f"--{name}.KEY ({what})" for name, what in groups.items()) or "none"
            raise ConfigError(f"--{key} is no setting here.{nearest(group, found)} Settings: {known}.")
        found[group].append((rest, text))
    return found


def all_settings(context: typer.Context) -> list[str]:
    """Every setting as `key=text`, for commands that have a configuration of their own."""
    return [f"{key}={text}" for key, text in _invocation(context).settings]


def _invocation(context: typer.Context) -> Invocation:
    return context.obj if isinstance(context.obj, Invocation) else Invocation()


def find_environment(id: str, settings: Sequence[Setting] = ()) -> EnvSpec:
    """The specification of an id or file, with `--env.KEY VALUE` settings as keyword arguments."""
    from agentenv.config import parse_value
    from agentenv.registry import spec

    found = spec(id)
    return found.with_kwargs(**{key: parse_value(text) for key, text in settings}) if settings else found


def find_backend(name: str, settings: Sequence[Setting], **options: Any) -> SandboxBackend:
    """A sandbox backend by name, with `--backend.KEY VALUE` settings as options."""
    from agentenv.config import parse_value
    from agentenv.sandbox.registry import make_backend

    return make_backend(name, **{key: parse_value(text) for key, text in settings}, **options)


def find_policy(name: str, model: str | None = None, settings: Sequence[Setting] = ()) -> Policy:
    """A policy by name, with `--model` and `--policy.KEY VALUE` settings as options."""
    from agentenv.config import parse_value
    from agentenv.policy.registry import make_policy

    options: dict[str, Any] = {key: parse_value(text) for key, text in settings}
    if model is not None:
        options["model"] = model
    return make_policy(name, **options)


def explain_error(error: Exception, *, debug: bool) -> int:
    """Prints an error and returns the exit code: one red line for a mistake, a traceback for a fault of agentenv."""
    from agentenv.errors import AgentenvError

    if debug:
        err().print_exception(show_locals=False)
    elif isinstance(error, AgentenvError):
        complain(str(error))
    elif hasattr(error, "format_message"):  # a mistake in the command line, whichever typer or click raised it
        complain(str(error.format_message()))
        return 2
    elif isinstance(error, Interrupted):
        complain(f"interrupted; {error}")
        return INTERRUPTED
    elif type(error).__name__ == "Abort":
        complain("interrupted")
        return INTERRUPTED
    else:
        complain(f"{type(error).__name__}: {error}")
        err().print("[dim]This is a fault of agentenv or of a plugin; --debug shows where.[/dim]")
    return 1


def complain(problem: str) -> None:
    """One problem in red on standard error, as it is: markup in it is not read."""
    err().print(f"error: {problem}", style="red", markup=False, highlight=False, soft_wrap=True)


def slug(text: str) -> str:
    """A text as part of a file name.

    >>> slug("openai:http://127.0.0.1:8000/v1#qwen")
    'openai-127.0.0.1-8000-v1-qwen'
    """
    return re.sub(r"[^\w.]+", "-", re.sub(r"https?://", "", text)).strip("-.")[:60]
