"""`tools/files-v0`: a tree of text files, to be put in order."""

from __future__ import annotations

import random
from typing import ClassVar

from agentenv_tools.briefs import Brief, Call
from agentenv_tools.env import GoalEnv
from agentenv_tools.world import Worlds
from agentenv_tools.worlds import FilesWorld
from agentenv_tools.worlds.drawn_files import TOPICS


class FileErrands(GoalEnv):
    """Settings to change, files to find, to move and to delete. Paid is the tree as it is left."""

    worlds: ClassVar[tuple[str, ...]] = (FilesWorld.name,)

    def draw(self, rng: random.Random, worlds: Worlds) -> Brief | None:
        draw = rng.choice((_setting, _sorting, _removal, _contact, _two_things))
        return draw(rng, worlds.of(FilesWorld).files)


def _setting(rng: random.Random, files: dict[str, str]) -> Brief:
    path = rng.choice([path for path in files if path.startswith("/settings/")])
    key, value = rng.choice((("port", rng.randint(10_000, 65_000)), ("timeout", rng.randint(61, 900))))
    lines = files[path].splitlines(keepends=True)
    text = "".join(f"{key} = {value}\n" if line.startswith(f"{key} =") else line for line in lines)
    return Brief(
        "setting",
        f"In the file {path} set {key} to {value}. Everything else in it stays as it is, letter for letter.",
        ((Call("read_file", {"path": path}),), (Call("write_file", {"path": path, "text": text}),)),
    )


def _sorting(rng: random.Random, files: dict[str, str]) -> Brief | None:
    ending, target = rng.choice(("csv", "txt", "log")), f"/archive/{rng.choice(TOPICS)}-{rng.randint(2000, 2031)}"
    names = [path for path in files if path.startswith("/inbox/") and path.endswith(f".{ending}")]
    if not names:
        return None
    moves = [Call("move_file", {"path": name, "to": f"{target}/{name.rpartition('/')[2]}"}) for name in names]
    return Brief(
        "sorting",
        f"Move all files in /inbox whose names end in .{ending} to the folder {target}; they keep their names.",
        ((Call("list_folder", {"path": "/inbox"}),), tuple(moves)),
    )


def _removal(rng: random.Random, files: dict[str, str]) -> Brief:
    path, reference = _referenced(rng, files)
    return Brief(
        "removal",
        f"Somewhere there is a file with the reference {reference}. Delete it.",
        ((Call("search_files", {"text": f"Reference: {reference}"}),), (Call("delete_file", {"path": path}),)),
    )


def _contact(rng: random.Random, files: dict[str, str]) -> Brief:
    path, reference = _referenced(rng, files)
    role = rng.choice(("Owner", "Reviewer"))
    name = next(line for line in files[path].splitlines() if line.startswith(role)).partition(": ")[2]
    target = f"/contacts/{reference}.txt"
    return Brief(
        "contact",
        f"Somewhere there is a file with the reference {reference}. Write the name of its {role.lower()}, and nothing "
        f"else, into the new file {target}.",
        (
            (Call("search_files", {"text": f"Reference: {reference}"}),),
            (Call("read_file", {"path": path}),),
            (Call("write_file", {"path": target, "text": name}),),
        ),
    )


def _two_things(rng: random.Random, files: dict[str, str]) -> Brief:
    kept, gone = rng.sample([path for path in files if path.endswith(".txt")], 2)
    named = f"{kept.rpartition('/')[0]}/{rng.choice(TOPICS)}-{rng.randint(2, 99)}.md"
    return Brief(
        "two things",
        f"Rename {kept} to {named}, and delete {gone}.",
        ((Call("move_file", {"path": kept, "to": named}), Call("delete_file", {"path": gone})),),
    )


def _referenced(rng: random.Random, files: dict[str, str]) -> tuple[str, str]:
    """A file that has a reference, and its reference."""
    marked = {path: text.partition("Reference: ")[2].strip() for path, text in files.items() if "Reference: " in text}
    once = [path for path in marked if list(marked.values()).count(marked[path]) == 1]
    path = rng.choice(once)
    return path, marked[path]
