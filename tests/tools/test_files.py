"""The world of files: what its tools do, and that no path leads out of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentenv.tools import ToolError
from agentenv_tools.worlds import FilesWorld
from agentenv_tools.worlds.files import MAX_CHARACTERS, MAX_FILES, MAX_HITS, clean
from tests.tools.worlds import called, made, refusal


def tree() -> FilesWorld:
    world = made(FilesWorld)
    world.files = {"/a/one.txt": "first\nsecond", "/a/b/two.txt": "second", "/three.txt": ""}
    return world


async def test_folders_are_listed_with_a_slash_and_files_without() -> None:
    world = tree()
    assert await called(world, "list_folder") == ["a/", "three.txt"]
    assert await called(world, "list_folder", path="a//./b/..") == ["b/", "one.txt"]
    assert "no folder /nowhere" in await refusal(world, "list_folder", path="/nowhere")
    assert "is a file" in await refusal(world, "list_folder", path="/a/one.txt")


async def test_a_file_is_read_written_moved_and_deleted() -> None:
    world = tree()
    assert await called(world, "read_file", path="/a/one.txt") == "first\nsecond"
    await called(world, "write_file", path="new/x.txt", text="x")
    await called(world, "move_file", path="/three.txt", to="/a")
    await called(world, "move_file", path="/a/b/two.txt", to="/c/d.txt")
    await called(world, "delete_file", path="/a/one.txt")
    assert world.facts() == {"/new/x.txt": "x", "/a/three.txt": "", "/c/d.txt": "second"}


async def test_lines_are_found_with_where_they_stand() -> None:
    found = await called(tree(), "search_files", text="second", path="/a")
    assert found == [
        {"path": "/a/b/two.txt", "line": 1, "text": "second"},
        {"path": "/a/one.txt", "line": 2, "text": "second"},
    ]
    assert await called(tree(), "search_files", text="third") == []


@pytest.mark.parametrize("path", ["..", "/../etc/passwd", "a/../../x", "/a/b/../../../x"])
async def test_a_path_out_of_the_root_is_refused_by_every_tool(path: str) -> None:
    world = tree()
    for name, arguments in (
        ("list_folder", {}),
        ("read_file", {}),
        ("write_file", {"text": "x"}),
        ("move_file", {"to": "/x"}),
        ("delete_file", {}),
        ("search_files", {"text": "x"}),
    ):
        assert "leads out of the root folder" in await refusal(world, name, path=path, **arguments)
    assert "leads out of the root folder" in await refusal(world, "move_file", path="/three.txt", to=path)


async def test_files_of_this_machine_are_not_there() -> None:
    for path in ("/etc/passwd", "file:///etc/passwd", "~/.bashrc", "C:\\Windows", __file__[:300]):
        assert "is not there" in await refusal(tree(), "read_file", path=path)


@pytest.mark.parametrize("path", ["a\0b", "a\nb", "a\x7f", "x" * 301])
async def test_a_path_with_control_characters_or_without_end_is_refused(path: str) -> None:
    assert "a path has at most 300 characters" in await refusal(tree(), "write_file", path=path, text="")


async def test_a_name_is_a_file_or_a_folder_and_never_both() -> None:
    world = tree()
    assert "/a is a folder" in await refusal(world, "write_file", path="/a", text="x")
    assert "/ is a folder" in await refusal(world, "write_file", path="/", text="x")
    assert "/three.txt is a file" in await refusal(world, "write_file", path="/three.txt/x", text="x")
    assert "/three.txt is a file" in await refusal(world, "move_file", path="/a/one.txt", to="/three.txt/x")
    assert "is a folder; a file is needed" in await refusal(world, "delete_file", path="/a")
    assert "there is a file /three.txt already" in await refusal(world, "move_file", path="/a/one.txt", to="/three.txt")


async def test_there_is_room_for_so_much_and_no_more() -> None:
    world = tree()
    used = sum(map(len, world.files.values()))
    await called(world, "write_file", path="/big", text="x" * (MAX_CHARACTERS - used))
    assert "there is room for" in await refusal(world, "write_file", path="/more", text="x")
    await called(world, "write_file", path="/big", text="")
    world.files |= {f"/many/{number}": "" for number in range(MAX_FILES - len(world.files))}
    assert "there is room for" in await refusal(world, "write_file", path="/one-more", text="")
    await called(world, "write_file", path="/big", text="again")


async def test_a_search_that_finds_everything_is_refused() -> None:
    world = tree()
    await called(world, "write_file", path="/lines", text="x\n" * (MAX_HITS + 1))
    assert "look for something rarer" in await refusal(world, "search_files", text="x")
    assert "no text to look for" in await refusal(world, "search_files", text="")


@given(st.lists(st.sampled_from(["a", "b", "..", ".", "", " "]), max_size=8).map("/".join))
def test_a_clean_path_is_its_own_clean_form_and_holds_no_dots(path: str) -> None:
    try:
        name = clean(path)
    except ToolError:
        assert ".." in path
        return
    assert clean(name) == name
    assert name.startswith("/")
    assert not {"..", "."} & set(name.split("/"))
