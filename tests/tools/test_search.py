"""The world of documents: what a search finds, where documents come from, and how answers and citations are paid."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

import agentenv
from agentenv.errors import ConfigError, MissingDataError
from agentenv.messages import Message, ToolCall, assistant
from agentenv.resources import Resources
from agentenv.rewards import Reward
from agentenv.tasks import Task
from agentenv_tools.errands.search import SearchErrands
from agentenv_tools.worlds import SearchWorld
from agentenv_tools.worlds.library import Bridge, Company, Project, Town, own_library
from tests.environments.playing import Played, play, play_oracle
from tests.tools.worlds import called, made, refusal


async def opened(corpus: str | None = None) -> SearchWorld:
    world = made(SearchWorld, corpus=corpus)
    await world.open()
    return world


def written(file: Path, *rows: object) -> str:
    file.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return str(file)


DOCUMENTS = (
    {"id": "a", "title": "Herons", "text": "A heron stands in shallow water."},
    {"id": "b", "title": "Owls", "text": "An owl hunts at night."},
    {"id": "c", "title": "Water", "text": "Water is wet, and water is cold."},
)


async def test_the_best_documents_come_first_and_others_not_at_all(tmp_path: Path) -> None:
    world = await opened(written(tmp_path / "birds.jsonl", *DOCUMENTS))
    found = await called(world, "search_documents", query="cold water")
    assert [document["id"] for document in found] == ["c", "a"]
    assert found[0] == {"id": "c", "title": "Water", "beginning": "Water is wet, and water is cold."}
    assert len(await called(world, "search_documents", query="cold water", count=1)) == 1


@pytest.mark.parametrize("query", ["", "   ", "the of and", "zzzzz", "?!", "a" * 100_000, "\0"])
async def test_a_query_that_means_nothing_finds_nothing(query: str) -> None:
    assert await called(await opened(), "search_documents", query=query) == []


async def test_what_a_search_cannot_do_is_refused() -> None:
    world = await opened()
    for count in (0, -1, 21, 10**9):
        assert "count lies between 1 and 20" in await refusal(world, "search_documents", query="x", count=count)
    assert "there is no document 'nope'" in await refusal(world, "read_document", id="nope")


def test_every_thing_of_our_own_library_is_found_by_its_name_first() -> None:
    world = asyncio.run(opened())
    library = own_library()
    things: list[Town | Company | Bridge | Project] = [
        *library.towns,
        *library.companies,
        *library.bridges,
        *library.projects,
    ]
    assert len(things) == len(library.documents) == 190
    found = {thing.name: [document.id for document in world.index.find(thing.name, 3)] for thing in things}
    assert [thing.name for thing in things if thing.document not in found[thing.name]] == []


async def test_episodes_that_are_played_together_share_one_index(tmp_path: Path) -> None:
    path = written(tmp_path / "birds.jsonl", *DOCUMENTS)
    async with Resources() as resources:
        with resources.active():
            worlds = await asyncio.gather(*(opened(path) for _ in range(20)))
    assert len({id(world.index) for world in worlds}) == 1


async def test_a_file_that_has_changed_is_read_again(tmp_path: Path) -> None:
    path = written(tmp_path / "birds.jsonl", *DOCUMENTS[:1])
    assert set((await opened(path)).index.documents) == {"a"}
    written(tmp_path / "birds.jsonl", *DOCUMENTS)
    assert set((await opened(path)).index.documents) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (["{"], "birds.jsonl:1 is not JSON"),
        ([[1]], "birds.jsonl:1 is no object"),
        ([DOCUMENTS[0], {"id": "b"}], "birds.jsonl:2 is no document"),
        ([DOCUMENTS[0], DOCUMENTS[0]], "birds.jsonl:2: an id stands for one document"),
        ([{**DOCUMENTS[0], "id": "a, b"}], "holds no space, comma or semicolon"),
        ([], "holds no document"),
    ],
)
async def test_a_file_that_is_no_corpus_is_a_mistake_with_a_line_number(
    tmp_path: Path, rows: list[object], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        await opened(written(tmp_path / "birds.jsonl", *rows))


async def test_a_file_that_is_not_there_is_missing_data(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="There is no file"):
        await opened(str(tmp_path / "none.jsonl"))


def look(*calls: tuple[str, object]) -> Message:
    made_calls = [ToolCall(str(n), name, json.dumps(arguments)) for n, (name, arguments) in enumerate(calls)]
    return assistant(None, *made_calls)


def birds(tmp_path: Path) -> SearchErrands:
    question = {"question": "When does an owl hunt?", "answer": "at night", "sources": ["b"], "split": "train"}
    documents = written(tmp_path / "birds.jsonl", *DOCUMENTS)
    return SearchErrands(corpus=documents, questions=written(tmp_path / "questions.jsonl", question))


async def answered(tmp_path: Path, reply: str, *calls: tuple[str, object]) -> dict[str, float]:
    played: Played = await play(birds(tmp_path), [*([look(*calls)] if calls else []), reply])
    assert played.last.terminated
    assert isinstance(played.last.reward, Reward)
    assert played.total == pytest.approx(sum(part.value * 0.5 for part in played.last.reward.components))
    return {part.name: part.value for part in played.last.reward.components}


READ_B = ("read_document", {"id": "b"})
SEEN_ALL = (READ_B, ("read_document", {"id": "a"}), ("read_document", {"id": "c"}))


@pytest.mark.parametrize(
    ("reply", "calls", "answer", "citations"),
    [
        ("ANSWER: at night\nSOURCES: b", (READ_B,), 1.0, 1.0),
        ("I looked.\n**ANSWER:** At  Night.\nSOURCES: [b]", (READ_B,), 1.0, 1.0),
        ("ANSWER: at night", (READ_B,), 1.0, 0.0),
        ("ANSWER: by day\nSOURCES: b", (READ_B,), 0.0, 1.0),
        ("ANSWER: at night\nSOURCES: a", SEEN_ALL, 1.0, 0.0),
        ("ANSWER: at night\nSOURCES: a, b, c", SEEN_ALL, 1.0, 0.5),
        ("ANSWER: at night\nSOURCES: b", (), 1.0, 0.0),
        ("ANSWER: at night\nSOURCES: b, c", (READ_B,), 1.0, pytest.approx(2 / 3)),
        ("ANSWER: at night\nANSWER: by day\nSOURCES: b", (READ_B,), 0.0, 1.0),
        ("ANSWER: at night or by day\nSOURCES: b", (READ_B,), 0.0, 1.0),
        ("ANSWER:\nSOURCES:", (READ_B,), 0.0, 0.0),
    ],
)
async def test_the_answer_and_its_sources_are_paid_half_each(
    tmp_path: Path, reply: str, calls: tuple[tuple[str, object], ...], answer: float, citations: float
) -> None:
    assert await answered(tmp_path, reply, *calls) == {"answer": answer, "citations": citations}


async def test_a_document_is_seen_when_a_search_has_shown_it(tmp_path: Path) -> None:
    search = ("search_documents", {"query": "owl"})
    assert (await answered(tmp_path, "ANSWER: at night\nSOURCES: b", search))["citations"] == 1.0


async def test_what_was_seen_in_one_episode_is_not_seen_in_the_next(tmp_path: Path) -> None:
    env = birds(tmp_path)
    await play(env, [look(READ_B), "ANSWER: at night\nSOURCES: b"])
    assert (await play(env, ["ANSWER: at night\nSOURCES: b"])).total == 0.5


async def test_the_oracle_answers_questions_of_ones_own(tmp_path: Path) -> None:
    assert (await play_oracle(birds(tmp_path))).total == 1.0


def test_documents_and_questions_go_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="corpus and questions go together"):
        SearchErrands(corpus=written(tmp_path / "birds.jsonl", *DOCUMENTS))


def test_questions_without_a_split_are_split_by_their_text(tmp_path: Path) -> None:
    rows = [{"question": f"What is {n}?", "answer": n, "sources": ["a"]} for n in range(300)]
    env = SearchErrands(
        corpus=written(tmp_path / "birds.jsonl", *DOCUMENTS), questions=written(tmp_path / "questions.jsonl", *rows)
    )
    sizes = {split: env.tasks(split).size or 0 for split in ("train", "dev", "test")}
    assert sum(sizes.values()) == 300
    assert sizes["train"] > 200
    assert min(sizes["dev"], sizes["test"]) > 10


def test_two_tasks_of_a_chain_need_one_document_after_the_other() -> None:
    tasks = [task for task in agentenv.make("tools/search-v0").tasks("dev").head(60) if task.data["kind"] == "chain"]
    assert tasks
    for task in tasks:
        assert [len(turn) for turn in task.answer["calls"]] == [1] * 2 * len(task.answer["sources"])


def test_a_comparison_looks_for_both_things_at_once() -> None:
    rows = agentenv.make("tools/search-v0").tasks("dev").head(60)
    tasks: list[Task] = [task for task in rows if task.data["kind"] == "comparison"]
    assert tasks
    for task in tasks:
        assert [len(turn) for turn in task.answer["calls"]] == [2, 2]
