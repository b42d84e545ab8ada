"""What a page consists of, by scripts (`inside`) in a world of their own that the page's scripts cannot spoil."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from agentenv_gui.browser.cdp import CommandError
from agentenv_gui.browser.patience import Patience
from agentenv_gui.browser.watch import Watch
from agentenv_gui.seen import Box, Node, Seen, Tree
from agentenv_gui.surface import ActionError

_WORLD = "agentenv"
_PROBLEMS = {
    "unknown": "there is no element {id} in what was seen last",
    "gone": "element {id} is not on the page any more: look again",
    "hidden": "element {id} is not shown",
    "kind": "element {id} is no list to choose from",
    "disabled": "{what} is disabled",
}


_INSIDE = Path(__file__).with_name("inside")
_SCRIPTS = ("geometry.js", "meaning.js", "tree.js", "reach.js", "room.js")


@functools.cache
def script() -> str:
    """What is run in each document, once."""
    parts = "\n".join((_INSIDE / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    return f"if (!globalThis.agentenvEyes) {{ globalThis.agentenvEyes = {{}};\n{parts} }}"


@functools.cache
def tame() -> str:
    """What is run in each document before all else, among the page's own scripts."""
    return (_INSIDE / "tame.js").read_text(encoding="utf-8")


class Eyes:
    """Looks at a page, and finds what was seen there.

    Args:
        frame: the id of the page's main frame.
    """

    def __init__(self, patience: Patience, watch: Watch, frame: str) -> None:
        self._patience, self._watch, self._frame = patience, watch, frame
        self._world: int | None = None
        self._document = -1

    def start(self) -> None:
        """Has the script run in every document from now on."""
        self._patience.session.post(
            "Page.addScriptToEvaluateOnNewDocument",
            {"source": script(), "worldName": _WORLD, "runImmediately": True},
        )

    async def open(self) -> None:
        """Makes sure that the script has run in the document that is there."""
        if self._document != self._watch.documents:
            await self._open()

    async def look(self, *, tree: bool) -> Seen:
        """The tree, if it is wanted, the title and the address."""
        told = json.loads(await self.call("look", tree))
        return Seen(tree=_tree(told) if tree else None, title=told["title"], address=told["address"])

    async def where(self, id: int) -> tuple[float, float]:
        """Where to aim at an element, which is brought into view for that.

        Raises:
            ActionError: there is none, or it has no place.
        """
        told = await self.call("where", id)
        if problem := told.get("problem"):
            raise ActionError(_PROBLEMS[problem].format(id=id))
        return told["x"], told["y"]

    async def choose(self, id: int, option: str) -> None:
        """Chooses an option. Raises `ActionError` where that cannot be."""
        told = await self.call("choose", id, option)
        match told.get("problem"):
            case None:
                return
            case "option":
                there = ", ".join(repr(one) for one in told["options"][:50])
                raise ActionError(f"element {id} has no option {option!r}; there are {there or 'none'}")
            case problem:
                what = f"the option {option!r}, or all of element {id},"
                raise ActionError(_PROBLEMS[problem].format(id=id, what=what))

    async def call(self, function: str, *arguments: Any) -> Any:
        """Calls a function of the script, in the document that is there."""
        for fresh in (False, True):
            if fresh or self._document != self._watch.documents:
                await self._open()
            try:
                return await self._called(function, arguments)
            except CommandError:  # the document, and its world with it, has just gone
                if fresh:
                    raise
        raise AssertionError("not reached")

    async def _called(self, function: str, arguments: tuple[Any, ...]) -> Any:
        spelled = ", ".join(json.dumps(one) for one in arguments)
        answer = await self._patience.send(
            "Runtime.evaluate",
            {
                "expression": f"agentenvEyes.{function}({spelled})",
                "contextId": self._world,
                "returnByValue": True,
                "userGesture": True,
            },
        )
        if "exceptionDetails" in answer:
            raise CommandError(f"agentenvEyes.{function}", str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    async def _open(self) -> None:
        document = self._watch.documents
        made = await self._patience.send("Page.createIsolatedWorld", {"frameId": self._frame, "worldName": _WORLD})
        self._world, self._document = made["executionContextId"], document
        # In a document without any scripts it was not run.
        self._patience.session.post("Runtime.evaluate", {"expression": script(), "contextId": self._world})


def _tree(told: dict[str, Any]) -> Tree:
    nodes = tuple(
        Node(
            number,
            role,
            name,
            value,
            tuple(states),
            None if box is None else Box(*box),
            depth,
            tuple((key, text) for key, text in attributes),
        )
        for number, (depth, role, name, value, states, box, attributes) in enumerate(told["nodes"], 1)
    )
    return Tree(nodes, None if told["focus"] is None else told["focus"] + 1)
