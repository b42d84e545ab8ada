"""What goes into a journal or a JSON file comes out as it was."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentenv.episode import Episode
from agentenv.rollout import Journal
from agentenv.rollout.codec import episode_from_wire, episode_to_wire, from_json, to_json
from agentenv.rollout.packing import pack_floats, pack_ints, pack_tokens, unpack, unpack_tokens
from agentenv.tokens import TokenRecord, VersionSpan
from tests.rollout.strategies import episodes, parts_of_rewards, token_records


@given(episodes())
def test_an_episode_survives_json_exactly(episode: Episode) -> None:
    again = episode_from_wire(from_json(to_json(episode_to_wire(episode))))
    assert again == episode
    assert parts_of_rewards(again) == parts_of_rewards(episode)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(episodes(), min_size=1, max_size=4, unique_by=(lambda episode: episode.id, lambda episode: episode.key))
)
def test_episodes_survive_the_journal_exactly(recorded: Sequence[Episode]) -> None:
    async def record() -> list[Episode]:
        with Journal.open(Path(folder) / "journal.sqlite") as journal:
            await asyncio.gather(*(journal.record(episode) for episode in recorded))
            return list(journal.episodes())

    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(record())
    assert found == list(recorded)
    assert [parts_of_rewards(episode) for episode in found] == [parts_of_rewards(episode) for episode in recorded]


@given(st.data(), st.lists(st.integers(0, 50_000), max_size=8).map(tuple))
def test_a_token_record_survives_packing_whatever_came_before(data: st.DataObject, before: tuple[int, ...]) -> None:
    tokens = data.draw(token_records(before))
    assert unpack_tokens(pack_tokens(tokens, before), before) == tokens


def test_only_what_is_new_in_a_growing_prompt_takes_room() -> None:
    before = tuple(range(1000))
    tokens = TokenRecord((*before, 7, 8), (9,), (-0.5,), (VersionSpan(0, 0, 1),))
    shared, fresh, sampled, logprobs, versions = pack_tokens(tokens, before)
    assert (shared, len(fresh), len(sampled), len(logprobs), versions) == (1000, 5, 3, 5, "0:0:1")


def test_numbers_take_the_narrowest_width_that_is_exact() -> None:
    assert [chr(pack_ints([value])[0]) for value in (65_535, 65_536, 2**32, -1)] == ["H", "I", "q", "q"]
    assert [chr(pack_floats([value])[0]) for value in (-0.5, float("-inf"), -0.1)] == ["f", "f", "d"]
    assert unpack(pack_floats([-0.1])) == [-0.1]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (numpy.float64(0.5), "0.5"),
        (numpy.int64(3), "3"),
        (numpy.arange(3), "[0,1,2]"),
        (MappingProxyType({"a": 1}), '{"a":1}'),
        ({3, 1}, "[1,3]"),
        (range, "\"<class 'range'>\""),
    ],
)
def test_an_info_that_is_no_json_is_written_as_the_nearest_thing(value: object, text: str) -> None:
    assert to_json(value) == text


def test_an_info_that_cannot_be_written_at_all_is_named_and_does_not_lose_the_episode() -> None:
    circle: dict[str, object] = {}
    circle["self"] = circle
    for value in (circle, {(1, 2): "tuple as key"}):
        assert list(json.loads(to_json(value))) == ["unserialisable"]
