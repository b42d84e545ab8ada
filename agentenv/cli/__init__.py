"""The command line: `agentenv COMMAND`. One module per command; what a command needs is imported when it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from agentenv.cli import check, describe, eval, list, mcp, new, play, replay, rescore, sandbox, serve, train
from agentenv.cli.common import INTERRUPTED, Invocation, complain, explain_error, take_settings

_HELP = """Environments, rollouts and reinforcement learning for language-model agents.

Settings with a dot in their name (--env.level 2, --rollout.max_concurrent 8) may stand anywhere in a command.

Example: agentenv eval calculator-v0 --policy oracle -n 20
"""

THREAD_GRACE = 0.5
"""Seconds an interrupted command waits for what still runs in threads."""


def build() -> typer.Typer:
    """The application with all its commands."""
    app = typer.Typer(name="agentenv", no_args_is_help=True, add_completion=False, rich_markup_mode="rich")
    app.callback(help=_HELP)(_options)
    for module in (list, describe, new, check, play, eval, train, replay, rescore, serve, mcp, sandbox):
        module.add_to(app)
    return app


def _options(
    version: bool = typer.Option(False, "--version", help="Print the version and end.", is_eager=True),
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks; may stand anywhere."),
) -> None:
    """Only shown in the help: `main` takes both out of the arguments before they get here."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and ends the process: 0 success, 1 failure, 2 a mistake in the command, 130 Ctrl-C."""
    code = run(sys.argv[1:] if arguments is None else arguments)
    if code == INTERRUPTED and not _threads_have_ended():
        os._exit(code)  # everything is on disk; an orderly end would abort inside the library that is still at work
    sys.exit(code)


def _threads_have_ended() -> bool:
    """Whether no interrupted call still runs in a thread, after a moment of grace that another Ctrl-C cuts short."""
    from agentenv.threads import THREADS

    try:
        return THREADS.wait_until_idle(THREAD_GRACE)
    except KeyboardInterrupt:
        return False


def run(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit code. Mistakes become one red line on standard error."""
    rest = [argument for argument in arguments if argument != "--debug"]
    debug = len(rest) < len(arguments)
    if rest[:1] == ["--version"]:
        import agentenv

        print(agentenv.__version__)
        return 0
    try:
        settings, rest = take_settings(rest)
        invocation = Invocation(debug, tuple(settings))
        result = build()(args=rest, prog_name="agentenv", standalone_mode=False, obj=invocation)
        if result == INTERRUPTED:  # typer's answer to a Ctrl-C that no command has made an `Interrupted`
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has gone; Python would complain about it at exit
        return 1
    except Exception as error:
        return explain_error(error, debug=debug)
