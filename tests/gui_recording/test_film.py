"""A film is one file that shows a recording, and nothing that a page has written gets out of its place in it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agentenv_gui.actions import (
    Action,
    Button,
    Choose,
    Click,
    Drag,
    Element,
    Ending,
    Finish,
    Hold,
    Point,
    Scroll,
    TypeText,
)
from agentenv_gui.recording.__main__ import app
from agentenv_gui.recording.captions import caption, places
from agentenv_gui.recording.film import film
from agentenv_gui.recording.log import Acted, Exchange, Looked, Recording, RecordingLog
from agentenv_gui.seen import Box, Node, Screenshot, Seen, Size, Tree, Wants

TREE = Tree((Node(1, "button", "Go", box=Box(10, 10, 20, 10)), Node(2, "text", "hidden")), None)
HOSTILE = "</script><script>alert(1)</script><!-- {{data}}"


def looked(seen: Seen, at: float = 0.0) -> Looked:
    return Looked(Wants(), None, seen, at, 0.1)


def acted(action: Action, refused: str | None = None) -> Acted:
    return Acted(action, refused, 1.0, 0.1)


def data(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


@pytest.mark.parametrize(
    ("action", "says"),
    [
        (Click(Element(1)), "click [1] button “Go”"),
        (Click(Point(3, 4.5), Button.RIGHT), "right click (3, 4.5)"),
        (Click(Element(9), count=2), "double click [9]"),
        (TypeText("x" * 70, Element(1)), f"type “{'x' * 59}…” into [1] button “Go”"),
        (Drag((Point(1, 2), Point(3, 4))), "drag (1, 2) → (3, 4)"),
        (Scroll(down=-100), "scroll -100 down, +0 right"),
        (Choose("Red", Element(1)), "choose “Red” of [1] button “Go”"),
        (Hold(("Shift",), 0.5), "hold Shift for 0.5 s"),
        (Finish(Ending.IMPOSSIBLE), "finish: impossible"),
    ],
)
def test_actions_are_told_in_words(action: Action, says: str) -> None:
    assert caption(action, TREE) == says


def test_elements_are_where_their_middle_is() -> None:
    assert places(Click(Element(1)), TREE) == (Point(20, 15),)
    assert places(Drag((Element(1), Point(3, 4))), TREE) == (Point(20, 15), Point(3, 4))
    assert places(Click(Element(2)), TREE) == places(Click(Element(7)), TREE) == places(Click(), TREE) == ()


def test_a_frame_is_a_look_with_what_was_done_then() -> None:
    exchanges: list[Exchange] = [
        looked(Seen(Screenshot(b"one", Size(100, 50)), TREE)),
        acted(Click(Element(1))),
        acted(Click(Point(-1, 0)), "outside"),
        looked(Seen(notices=("a dialog said: hello",)), 2.0),
        looked(Seen(Screenshot(b"one", Size(100, 50))), 3.0),
    ]
    told = data(film(Recording(Size(100, 50), tuple(exchanges))))
    assert told["size"] == [100, 50]
    assert len(told["images"]) == 1, "a picture that comes twice is in the file once"
    assert [frame["screen"] for frame in told["frames"]] == [0, None, 0]
    assert [action["caption"] for action in told["frames"][0]["actions"]] == ["click [1] button “Go”", "click (-1, 0)"]
    assert told["frames"][0]["actions"][1]["refused"] == "outside"
    assert told["frames"][1]["notices"] == ["a dialog said: hello"]


def test_actions_before_the_first_look_have_a_frame_without_a_picture() -> None:
    told = data(film(Recording(Size(100, 50), (acted(Click()),))))
    assert [(frame["screen"], len(frame["actions"])) for frame in told["frames"]] == [(None, 1)]


def test_what_a_page_has_written_stays_text() -> None:
    tree = Tree((Node(1, "button", HOSTILE),), None)
    seen = Seen(None, tree, None, HOSTILE, HOSTILE, (HOSTILE,))
    page = film(Recording(Size(1, 1), (looked(seen), acted(Click(Element(1)), HOSTILE))), HOSTILE)
    assert page.count("<script") == 2, "the data and the program, as in every film"
    assert "<!--" not in page
    assert page.count('"images": ') == 1, "and a text that looks like a place of the template is no such place"
    assert data(page)["frames"][0]["title"] == HOSTILE


def test_the_command_makes_a_film_and_a_mistake_is_one_line(tmp_path: Path) -> None:
    RecordingLog(tmp_path / "it", Size(100, 50)).append(acted(Click()))
    runner = CliRunner()
    made = runner.invoke(app, [str(tmp_path / "it")])
    assert (made.exit_code, made.output) == (0, f"{tmp_path / 'it' / 'film.html'}\n")
    assert data((tmp_path / "it" / "film.html").read_text())["size"] == [100, 50]
    wrong = runner.invoke(app, [str(tmp_path / "nothing")])
    assert wrong.exit_code == 1
    assert wrong.output.count("\n") == 1
    assert "is no recording" in wrong.output
