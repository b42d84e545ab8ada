"""What the last words of an episode say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentenv_tools.reports import MAX_LENGTH, Report, canonical, citation_score


@pytest.mark.parametrize("reply", ["DONE", "All is well.\nDONE", "**DONE**", "  DONE.  ", "`DONE`", "DONE\nDONE"])
def test_done_ends_an_episode_in_which_nothing_is_asked(reply: str) -> None:
    assert Report.of(reply).ends(asked=False)
    assert not Report.of(reply).ends(asked=True)


@pytest.mark.parametrize("reply", ["", "done", "I am DONE now", "NOT DONE", "DONE?", "ANSWER: DONE", "ANSWER: 1", " "])
def test_nothing_else_does(reply: str) -> None:
    assert not Report.of(reply).ends(asked=False)


@pytest.mark.parametrize(
    ("reply", "wanted", "right"),
    [
        ("ANSWER: 42", 42, True),
        ("I think so.\nANSWER: 42.", 42, True),
        ("ANSWER: 1,234", 1234, True),
        ("ANSWER: 42.00", 42, True),
        ("ANSWER: −7", -7, True),
        ("ANSWER: 0.50", "0.5", True),
        ("**ANSWER:** oak Lamp", "oak lamp", True),
        ("ANSWER: 42\nANSWER: 42.0", 42, True),
        ("ANSWER: 42\nANSWER: 43", 42, False),
        ("ANSWER: 42 or 43", 42, False),
        ("ANSWER: 4 2", 42, False),
        ("ANSWER: 12,34", 1234, False),
        ("ANSWER:", 42, False),
        ("The ANSWER: 42", 42, False),
        ("42", 42, False),
        ("DONE", 42, False),
        ("ANSWER: " + "42" * 101, 42, False),
        ("ANSWER: 40 + 2", 42, False),
        ("ANSWER: ４２", 42, False),
    ],
)
def test_an_answer_stands_alone_on_its_line(reply: str, wanted: str | int, right: bool) -> None:
    assert Report.of(reply).answers_with(wanted) is right


@pytest.mark.parametrize(
    ("reply", "sources"),
    [
        ("SOURCES: a, b", {"a", "b"}),
        ("SOURCES: [a]; (b) `c`.", {"a", "b", "c"}),
        ("SOURCES: a\nSOURCES: b", {"a", "b"}),
        ("SOURCES:", set()),
        ("The SOURCES: a", set()),
    ],
)
def test_sources_are_ids_between_commas_or_spaces(reply: str, sources: set[str]) -> None:
    assert Report.of(reply).sources == sources


@given(st.text(max_size=200))
def test_no_reply_breaks_the_reader(reply: str) -> None:
    (first, *_) = reply.split("\n")
    assert canonical(first) in Report.of(f"ANSWER: {reply}").answers
    assert all(len(answer) <= 2 * MAX_LENGTH for answer in Report.of(reply).answers)


@pytest.mark.parametrize("reply", ["ANSWER:" + " " * 10**6, "*" * 10**6 + "DONE", "SOURCES: " + "a," * 10**5])
def test_a_huge_reply_is_read_at_once(reply: str) -> None:
    Report.of(reply)


ids = st.frozensets(st.sampled_from("abcde"))


@given(ids, ids)
def test_citing_exactly_the_sources_is_best_and_none_of_them_is_worth_nothing(
    cited: frozenset[str], wanted: frozenset[str]
) -> None:
    score = citation_score(cited, wanted)
    assert 0.0 <= score <= 1.0
    assert (score == 1.0) == (cited == wanted != frozenset())
    assert (score == 0.0) == (not cited & wanted)
