"""Actions and what was seen travel as JSON and come back as they were."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from agentenv.errors import ConfigError
from agentenv_gui.actions import Action, Click, Element
from agentenv_gui.seen import Box, Node, Screenshot, Seen, Size, Tree
from agentenv_gui.wire import action_from_json, action_to_json, seen_from_json, seen_to_json
from tests.gui_recording.strategies import ACTIONS


@given(ACTIONS)
def test_every_action_comes_back(action: Action) -> None:
    assert action_from_json(json.loads(json.dumps(action_to_json(action)))) == action


def test_what_is_as_usual_is_not_written() -> None:
    assert action_to_json(Click()) == {"kind": "click"}
    assert action_to_json(Click(Element(7))) == {"kind": "click", "at": {"id": 7}}


@pytest.mark.parametrize(
    ("wire", "says"),
    [
        ({"kind": "clik"}, "there is no action 'clik'"),
        ({}, "there is no action None"),
        ({"kind": "click", "at": {"x": "far"}}, "the action click: at"),
        ({"kind": "move"}, "the action move: to"),
    ],
)
def test_what_is_no_action_is_refused(wire: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        action_from_json(wire)


def test_what_was_seen_comes_back_with_its_picture_beside_it() -> None:
    node = Node(3, "button", "Go", None, ("focused",), Box(1, 2, 30, 40), 1, (("tag", "button"),))
    seen = Seen(Screenshot(b"png", Size(10, 20), 2.0), Tree((node,), 3), (4.5, 5.0), "A page", "data:", ("a dialog",))
    wire = json.loads(json.dumps(seen_to_json(seen)))
    assert seen_from_json(wire, b"png") == seen
    assert "png" not in json.dumps(wire).replace('"png": ""', "")
