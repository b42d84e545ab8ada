from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from agentenv.messages import assistant, user
from agentenv.policy.contract import Completion, Sampling, Session
from agentenv.policy.human import HumanLeft, HumanPolicy
from agentenv.tools import Tool


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


TOOLS = (Tool.of(add).spec,)


class Terminal:
    """A human who types the given lines and then closes the terminal."""

    def __init__(self, *lines: str) -> None:
        self.screen = io.StringIO()
        self._lines: Iterator[str] = iter(lines)
        self.policy = HumanPolicy(Console(file=self.screen, width=100), self._type)

    def _type(self) -> str:
        try:
            return next(self._lines)
        except StopIteration:
            raise EOFError from None

    async def answer(self, *messages: str) -> Completion:
        conversation = [user(text) for text in messages or ("What is 1 + 2?",)]
        return await self.policy.complete(conversation, TOOLS, Sampling(), Session("e", 0))


async def test_a_typed_line_is_the_answer() -> None:
    terminal = Terminal("It is 3.")
    assert (await terminal.answer()).message == assistant("It is 3.")
    assert "What is 1 + 2?" in terminal.screen.getvalue()
    assert "add(a: integer, b: integer)" in terminal.screen.getvalue()


async def test_a_backslash_continues_the_line() -> None:
    assert (await Terminal("one\\", "two").answer()).message.text == "one\ntwo"


async def test_a_tool_is_called_with_a_command() -> None:
    completion = await Terminal('/call add {"a": 1, "b": 2}').answer()
    call = completion.message.tool_calls[0]
    assert (call.name, call.arguments, completion.finish_reason) == ("add", '{"a": 1, "b": 2}', "tool_calls")


async def test_mistakes_are_explained_and_asked_again() -> None:
    terminal = Terminal("/call ad {}", "/call add {a}", "/call add [1]", "/cal add", "/help", "/tools", "done")
    assert (await terminal.answer()).message.text == "done"
    screen = terminal.screen.getvalue()
    for said in ("Did you mean 'add'", "no JSON", "must be a JSON object", "Did you mean '/call'", "continues it"):
        assert said in screen


@pytest.mark.parametrize("lines", [(), ("/quit",), ("half a\\",)])
async def test_leaving_ends_this_and_every_later_episode(lines: tuple[str, ...]) -> None:
    terminal = Terminal(*lines)
    with pytest.raises(HumanLeft, match="left"):
        await terminal.answer()
    with pytest.raises(HumanLeft):
        await terminal.answer()


async def test_markup_in_a_message_is_shown_as_it_is() -> None:
    terminal = Terminal("ok")
    await terminal.answer("[red]not red[/red] [/nothing]")
    assert "[red]not red[/red] [/nothing]" in terminal.screen.getvalue()
