"""What is seen, as a policy reads it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentenv_gui.render import MOST_NODES, content_of, node_line, text_of, tree_lines
from agentenv_gui.seen import Node, Screenshot, Seen, Size, Tree, Wants

TREE = Tree(
    (
        Node(1, "text", "Log in"),
        Node(2, "textbox", "Name", value="Ann", states=("focused", "required")),
        Node(3, "list", attributes=(("class", "menu"), ("tag", "ul"))),
        Node(4, "button", "Submit", states=("disabled",), depth=1),
    ),
    focused=2,
)


def test_a_tree_is_a_line_for_each_node_with_the_id_to_aim_at() -> None:
    assert text_of(Seen(tree=TREE), Wants()).splitlines() == [
        '[1] text "Log in"',
        '[2] textbox "Name" = "Ann" required focused',
        "[3] list class=menu",
        '  [4] button "Submit" disabled',
    ]


def test_the_focus_is_told_only_where_it_is_wanted_and_alone_where_the_tree_is_not() -> None:
    assert "focused" not in text_of(Seen(tree=TREE), Wants(focus=False))
    assert text_of(Seen(tree=TREE), Wants(tree=False)) == 'focus: [2] textbox "Name" = "Ann" required'
    assert text_of(Seen(tree=TREE), Wants(tree=False, focus=False)) == ""


def test_what_happened_by_itself_comes_first() -> None:
    assert text_of(Seen(tree=TREE, notices=("A dialog was closed.",)), Wants()).startswith(
        "! A dialog was closed.\n[1]"
    )


def test_a_picture_is_a_part_after_the_text() -> None:
    seen = Seen(screenshot=Screenshot(b"png", Size(1, 1)), tree=TREE)
    text, picture = content_of(seen, Wants(), "Log in.")
    assert text.to_wire()["text"].startswith("Log in.\n[1]")
    assert picture.to_wire()["image_url"]["url"] == "data:image/png;base64,cG5n"


def test_a_picture_alone_is_one_part() -> None:
    assert len(content_of(Seen(screenshot=Screenshot(b"png", Size(1, 1))), Wants())) == 1


def test_more_nodes_than_can_be_read_are_counted() -> None:
    many = Tree(tuple(Node(number, "text", "x") for number in range(MOST_NODES + 7)))
    assert tree_lines(many)[-1] == "… 7 more are not shown"


@given(st.text(), st.none() | st.text())
def test_a_line_stays_one_line(name: str, value: str | None) -> None:
    line = node_line(Node(1, "text", name, value=value))
    assert len(line.splitlines()) == 1
