"""A human at the terminal: messages and tools are shown, answers are typed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.text import Text

from agentenv.errors import ConfigError, ModelError, nearest
from agentenv.messages import Message, Role, ToolCall, assistant
from agentenv.policy.contract import Completion, Policy, Sampling, Session
from agentenv.policy.scripted import turn_of
from agentenv.threads import THREADS
from agentenv.tools import ToolSpec

HELP = """\
Type your answer and press Enter. A backslash at the end of a line continues it on the next.
  /call TOOL {"argument": 1}   call a tool; the arguments are JSON, {} may be left out
  /tools                       show the tools and their arguments
  /help                        this text
  /quit                        leave (so do Ctrl-D and Ctrl-C)"""

_COMMANDS = ("/call", "/tools", "/help", "/quit")
_STYLE = {Role.SYSTEM: "dim", Role.DEVELOPER: "dim", Role.USER: "cyan", Role.ASSISTANT: "green", Role.TOOL: "yellow"}


class HumanLeft(ModelError):
    """The human ended the session; whatever episodes are left have no policy any more."""

    def __init__(self) -> None:
        super().__init__("the human at the terminal left")


class HumanPolicy(Policy):
    """Shows what is new and reads what is typed. Episodes take turns at the one terminal.

    Args:
        console: where to draw; by default standard error, so that results can be piped.
        read_line: blocks for one line without its newline and raises `EOFError` at the end, as `input` does; it is
            called in a thread.
    """

    name = "human"

    def __init__(self, console: Console | None = None, read_line: Callable[[], str] = input) -> None:
        self._console = console or Console(stderr=True)
        self._read_line = read_line
        self._terminal = asyncio.Lock()
        self._left = False
        self._greeted = False

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], sampling: Sampling, session: Session
    ) -> Completion:
        async with self._terminal:
            if self._left:
                raise HumanLeft
            self._show_new(messages, tools)
            while True:
                line = await self._line()
                answer = self._understand(line, turn_of(messages), tools)
                if answer is not None:
                    return Completion(answer, "tool_calls" if answer.tool_calls else "stop", model=self.name)

    async def _line(self) -> str:
        """One answer, continued lines joined. Raises `HumanLeft` at the end of the input."""
        lines: list[str] = []
        while True:
            self._console.print("> " if not lines else "… ", end="", style="bold", highlight=False)
            try:
                line = await THREADS.run(self._read_line)
            except EOFError:
                raise self._leave() from None
            if not line.endswith("\\"):
                return "\n".join([*lines, line])
            lines.append(line[:-1])

    def _understand(self, line: str, turn: int, tools: Sequence[ToolSpec]) -> Message | None:
        """The message a line stands for; `None` when it was a question to the terminal itself or a mistake."""
        command, _, rest = line.strip().partition(" ")
        match command:
            case "/call":
                return self._call(rest.strip(), turn, tools)
            case "/tools":
                self._show_tools(tools, detailed=True)
            case "/help":
                self._console.print(HELP, markup=False, highlight=False)
            case "/quit":
                raise self._leave()
            case _ if command.startswith("/") and (hint := nearest(command, _COMMANDS)):
                self._complain(f"{command} is no command.{hint}")
            case _:
                return assistant(line)
        return None

    def _call(self, rest: str, turn: int, tools: Sequence[ToolSpec]) -> Message | None:
        name, _, arguments = rest.partition(" ")
        known = [tool.name for tool in tools]
        if name not in known:
            self._complain(f"there is no tool {name!r}.{nearest(name, known)} /tools shows them.")
            return None
        try:
            parsed = json.loads(arguments or "{}")
        except ValueError as error:
            self._complain(f"the arguments are no JSON: {error}")
            return None
        if not isinstance(parsed, dict):
            self._complain('the arguments must be a JSON object, such as {"a": 1}')
            return None
        return assistant(None, ToolCall(f"call_{turn}", name, arguments or "{}"))

    def _leave(self) -> HumanLeft:
        self._left = True
        self._console.print()
        return HumanLeft()

    def _show_new(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> None:
        last_own = max((at for at, message in enumerate(messages) if message.role is Role.ASSISTANT), default=-1)
        for message in messages[last_own + 1 :]:
            show_message(self._console, message)
        if last_own < 0:
            self._show_tools(tools, detailed=False)
        if not self._greeted:
            self._greeted = True
            self._console.print("[dim]/help shows what can be typed[/dim]")

    def _show_tools(self, tools: Sequence[ToolSpec], *, detailed: bool) -> None:
        if not tools:
            if detailed:
                self._console.print("[dim]no tools[/dim]")
            return
        for tool in tools:
            parameters = tool.parameters.get("properties", {})
            signature = ", ".join(f"{name}: {schema.get('type', 'any')}" for name, schema in parameters.items())
            about = tool.description.partition("\n")[0]
            self._console.print(f"[bold]{escape(tool.name)}[/bold]({escape(signature)})  [dim]{escape(about)}[/dim]")
            if detailed:
                self._console.print_json(data=dict(tool.parameters))

    def _complain(self, problem: str) -> None:
        self._console.print(Text(problem, style="red"))


def show_message(console: Console, message: Message) -> None:
    """Draws one message as a panel; whatever it contains is shown as plain text, never read as markup."""
    body = Text(message.text)
    if not isinstance(message.content, str):
        for part in message.content or ():
            if part.type != "text":
                body.append(f"\n[{part.type}]", style="italic")
    for call in message.tool_calls:
        body.append(f"\n→ {call.name} {call.arguments}" if body else f"→ {call.name} {call.arguments}", style="bold")
    title = f"{message.role.value} · {message.name}" if message.name else message.role.value
    console.print(Panel(body, title=Text(title), title_align="left", border_style=_STYLE[message.role]))


def make_policy(argument: str | None = None) -> HumanPolicy:
    """You, at this terminal."""
    if argument is not None:
        raise ConfigError(f"the policy 'human' takes no argument, got {argument!r}; write --policy human")
    return HumanPolicy()
