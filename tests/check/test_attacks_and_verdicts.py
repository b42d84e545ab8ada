"""How attacks are worded, and from which results an accusation follows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentenv.check.attacks import Attack, Format, View, attacks_on, canonical, format_of
from agentenv.check.catalogue import EXPLANATIONS, Probe
from agentenv.check.report import Severity, shorten
from agentenv.check.verdicts import Scale, Try, judge_attacks, judge_constant, judge_oracle
from agentenv.messages import assistant

UNIT = Scale(0.0, 1.0)


@pytest.mark.parametrize(
    ("finals", "answers", "expected"),
    [
        (["<answer>4</answer>", "<answer>no</answer>"], ["4", "no"], Format("<answer>", "</answer>")),
        (["<answer>14</answer>", "<answer>15</answer>"], [None, None], Format("<answer>", "</answer>")),
        (["1 + 1 = 2 #### 2", "2 + 3 = 5 #### 5"], ["2", "5"], Format("#### ", "")),
        (['{"sum": 12}', '{"sum": 13}'], [12, 13], Format('{"sum": ', "}")),
        (["12", "13"], ["12", "13"], Format()),
        (["12", "13"], [None, None], Format()),
        (["up", "up"], [None, None], Format()),
        ([], [], Format()),
    ],
)
def test_the_format_is_what_the_oracles_messages_share(
    finals: list[str], answers: list[object], expected: Format
) -> None:
    assert format_of(finals, answers) == expected


def test_without_an_oracle_the_format_is_the_one_the_prompt_asks_for() -> None:
    assert format_of([], [], "Put it in \\boxed{}.") == Format("\\boxed{", "}")


@given(st.text(), st.text(max_size=5), st.text(max_size=5))
def test_an_answer_comes_back_out_of_its_wrapping(answer: str, prefix: str, suffix: str) -> None:
    style = Format(prefix, suffix)
    assert style.bare(style.wrap(answer)) == answer


def test_spellings_of_one_answer_agree_and_different_answers_do_not() -> None:
    assert len({canonical(text) for text in ("3", " 3.0 ", "3.00.", "+3")}) == 1
    assert canonical("1,000") == canonical("1000") != canonical("100")
    assert canonical("Yes.") == canonical("yes") != canonical("no")
    assert canonical("0") == canonical("-0.0")


def test_a_list_that_begins_with_the_right_answer_claims_it() -> None:
    listing = next(a for a in attacks_on(View("?", right="0"), Format(), 9, "") if a.name == "numbers")
    assert Try("t", listing, 1.0, "0").explained
    assert Try("t", listing, 1.0, "300").explained
    assert not Try("t", listing, 1.0, "12").explained


def test_hedges_need_two_different_answers() -> None:
    def hedges(right: str, other: str) -> list[Attack]:
        view = View("?", right=right, others=(other,))
        return [attack for attack in attacks_on(view, Format(), 9, "") if attack.family is Probe.HEDGE]

    assert len(hedges("4", "5")) == 2
    assert hedges("4", "4.0") == []


def _tries(family: Probe, earned: list[float], right: str | None = "x", **fields: str) -> list[Try]:
    return [
        Try(f"t{index}", Attack("a", family, assistant("said"), **fields), value, right)  # type: ignore[arg-type]
        for index, value in enumerate(earned)
    ]


@pytest.mark.parametrize(
    ("family", "wins", "severity"),
    [
        (Probe.PAYS_NOTHING, 20, Severity.ERROR),
        (Probe.PAYS_NOTHING, 1, Severity.WARNING),
        (Probe.LISTING, 4, Severity.ERROR),
        (Probe.LISTING, 1, Severity.INFO),
        (Probe.OTHER_ANSWER, 10, Severity.ERROR),
        (Probe.OTHER_ANSWER, 5, Severity.WARNING),
        (Probe.OTHER_ANSWER, 1, Severity.INFO),
        (Probe.GUESS, 3, Severity.INFO),
    ],
)
def test_how_often_an_attack_wins_decides_how_bad_it_is(family: Probe, wins: int, severity: Severity) -> None:
    (finding,) = judge_attacks(_tries(family, [1.0] * wins + [0.0] * (20 - wins)), UNIT)
    assert (finding.severity, finding.seen, finding.trials) == (severity, wins, 20)


def test_a_constant_that_is_right_half_of_the_time_is_no_fault() -> None:
    attack = Attack("guess-yes", Probe.GUESS, assistant("yes"), ("yes",))
    answers = ["yes", "no"] * 10
    tries = [Try(f"t{n}", attack, float(right == "yes"), right) for n, right in enumerate(answers)]
    assert judge_attacks(tries, UNIT) == []


def test_without_the_right_answer_a_paid_constant_is_a_warning_at_most() -> None:
    (finding,) = judge_attacks(_tries(Probe.GUESS, [1.0] * 20, right=None), UNIT)
    assert finding.severity is Severity.WARNING


def test_a_hedge_counts_only_when_both_orders_are_paid() -> None:
    def hedge(first: float, second: float) -> list[Try]:
        halves = [
            Attack(name, Probe.HEDGE, assistant(name), pair="hedge") for name in ("right-or-wrong", "wrong-or-right")
        ]
        return [Try("t", half, value, "x") for half, value in zip(halves, (first, second), strict=True)]

    assert judge_attacks(hedge(0.0, 1.0), UNIT) == []
    (finding,) = judge_attacks(hedge(1.0, 1.0), UNIT)
    assert finding.probe is Probe.HEDGE
    assert judge_attacks(hedge(1.0, 1.0)[:1], UNIT) == []


def test_partial_credit_below_the_winning_share_is_named_only_for_answers_without_content() -> None:
    assert judge_attacks(_tries(Probe.OTHER_ANSWER, [0.6] * 10), UNIT) == []
    (finding,) = judge_attacks(_tries(Probe.PAYS_NOTHING, [0.6] * 10), UNIT)
    assert (finding.probe, finding.severity) == (Probe.PARTIAL_PAY, Severity.WARNING)
    (finding,) = judge_attacks(_tries(Probe.PAYS_NOTHING, [0.15] * 10), UNIT)
    assert finding.severity is Severity.INFO
    assert judge_attacks(_tries(Probe.PAYS_NOTHING, [0.01] * 10), UNIT) == []


def test_a_range_wide_with_penalties_does_not_make_doing_nothing_a_win() -> None:
    declared = Scale.declared((-200.0, 20.0), [10.0])
    attack = Attack("no-op", Probe.PAYS_NOTHING, assistant(None))
    unfinished = [Try(f"t{n}", attack, -6.0, None, ended=False) for n in range(9)]
    lost = [Try(f"t{n}", attack, -100.0, None) for n in range(9)]
    scale = declared.narrowed(unfinished + lost, [10.0])
    assert (scale.low, scale.high) == (-100.0, 20.0)
    assert judge_attacks(unfinished, declared) == []
    assert Scale.declared((0.0, 1.0), [1.0]).narrowed(lost, [1.0]) == UNIT
    assert Scale.declared((float("-inf"), float("inf")), [7.0, -3.0]) == Scale(-3.0, 7.0)


def test_a_lucky_move_in_a_game_of_chance_is_no_fault_of_the_verifier() -> None:
    (finding,) = judge_attacks(_tries(Probe.GUESS, [1.0] * 9 + [0.0] * 11), UNIT, chance=True)
    assert finding.severity is Severity.INFO


def test_an_oracle_short_of_the_top_is_graded_by_how_often_it_wins() -> None:
    assert judge_oracle([("a", 1.0), ("b", 1.0)], UNIT) == []
    assert judge_oracle([("a", 1.0), ("b", 0.95)], UNIT)[0].severity is Severity.INFO
    assert judge_oracle([("a", 1.0), ("b", 0.5)], UNIT)[0].severity is Severity.WARNING
    assert judge_oracle([("a", 0.0), ("b", 0.5)], UNIT)[0].severity is Severity.ERROR


def test_one_reward_for_every_answer_of_the_right_form_is_constant_unless_it_is_the_lowest() -> None:
    tries = [Try("t", Attack(f"a{n}", Probe.OVERRIDE, assistant(f"#### {n}")), 1.0, "x") for n in range(9)]
    unformed = [Try("t", Attack("plain", Probe.OVERRIDE, assistant("plain")), 0.0, "x")]
    style = Format("#### ", "")
    (finding,) = judge_constant(tries + unformed, [1.0], UNIT, style)
    assert (finding.probe, finding.severity) == (Probe.CONSTANT_REWARD, Severity.ERROR)
    assert judge_constant(tries + unformed, [1.0], UNIT, Format()) == []
    assert judge_constant(tries, [0.5], UNIT, style) == []
    assert judge_constant(tries, [1.0], Scale(1.0, 2.0), style) == []
    assert judge_constant(tries, [], UNIT, style) == []
    assert judge_constant(tries[:3], [1.0], UNIT, style) == []


def test_full_marks_are_worse_than_generous_partial_credit() -> None:
    assert judge_attacks(_tries(Probe.OTHER_ANSWER, [0.92] * 20), UNIT)[0].severity is Severity.WARNING
    assert judge_attacks(_tries(Probe.OTHER_ANSWER, [1.0] * 20), UNIT)[0].severity is Severity.ERROR


def test_every_probe_is_explained() -> None:
    assert set(EXPLANATIONS) == set(Probe)


@given(st.text())
def test_evidence_is_one_printable_line_of_bounded_length(text: str) -> None:
    line = shorten(text)
    assert line.isprintable()
    assert len(line) < 200
