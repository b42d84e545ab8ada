"""The research environment: what it asks, what its tools say, what it pays, and what it does not."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentenv.check import Probe, Severity, audit
from agentenv.env import Action
from agentenv.messages import Message, assistant
from agentenv.registry import EnvSpec
from agentenv.tasks import Task
from agentenv_tools.research import SPECS
from agentenv_tools.research.catalogue import ITEMS, Catalogue, Fact, Page
from agentenv_tools.research.env import Research
from agentenv_tools.research.questions import Operator, Question, evaluate
from tests.environments.playing import Played, call, continue_oracle, play, play_oracle

SPEC: EnvSpec = SPECS[0]
TASK = Question("lamp", Fact.PRICE, Operator.TIMES, 3).task()


def search(query: str) -> Message:
    return call("search", json.dumps({"query": query}))


def read(page: str) -> Message:
    return call("read", json.dumps({"page": page}))


def calculate(expression: str) -> Message:
    return call("calculator", json.dumps({"expression": expression}))


async def right_page(env: Research, seed: int = 0) -> Page:
    """The page with the price of a lamp in the episode of this seed."""
    await env.reset(task=TASK, seed=seed)
    return env.catalogue.page_of("lamp", Fact.PRICE)


async def other_page(env: Research, seed: int = 0) -> Page:
    """The page with its weight."""
    await env.reset(task=TASK, seed=seed)
    return next(page for page in env.catalogue.pages if page.item == "lamp" and page.fact is Fact.WEIGHT)


async def worked_out(answer: str | None = None, *before: Message, seed: int = 0) -> Played:
    """An episode that searches, reads the right page, calculates, and ends with this answer; by default the right one.

    `before` comes before all that.
    """
    env = Research()
    page = await right_page(env, seed)
    answer = f"{page.value * 3} [{page.id}]" if answer is None else answer
    said = [*before, search("lamp"), read(page.id), calculate(f"{page.value}*3"), assistant(answer)]
    return await play(env, said, TASK, seed)


def test_a_question_names_an_article_and_one_operation() -> None:
    assert TASK.question == "lamp price * 3"
    assert Question.of(TASK) == Question("lamp", Fact.PRICE, Operator.TIMES, 3)


@pytest.mark.parametrize(("operation", "answer"), [(Operator.PLUS, 23), (Operator.MINUS, 17), (Operator.TIMES, 60)])
def test_the_answer_is_the_operation_on_the_price(operation: Operator, answer: int) -> None:
    assert Question("lamp", Fact.PRICE, operation, 3).answer(20) == answer
    assert evaluate(Question("lamp", Fact.PRICE, operation, 3).expression(20)) == answer


async def test_a_page_is_found_by_its_words_read_by_its_number_and_says_the_price() -> None:
    env = Research()
    page, other = await right_page(env), await other_page(env)
    played = await play(env, [search("lamp"), read(page.id), calculate("20-3")], TASK)
    said = [step.observation.messages[0].text for step in played.steps]
    assert said == [
        f"P{page.number} lamp\nW{other.number} lamp",
        f'{{"price": "{page.value}"}}',
        "17",
    ]


async def test_three_calls_at_two_hundredths_each_and_the_right_answer_earn_094() -> None:
    played = await worked_out()
    assert [step.reward for step in played.steps] == pytest.approx([-0.02, -0.02, -0.02, 1.0])
    assert played.total == pytest.approx(0.94)
    metrics = played.last.info["metrics"]
    assert (metrics["success"], metrics["tool_calls"], metrics["calls_when_right"]) == (True, 3, 3)
    assert metrics["tool_cost"] == pytest.approx(0.06)


async def test_a_needless_call_costs_two_hundredths_and_no_success() -> None:
    played = await worked_out(None, search("lamp"))
    assert played.total == pytest.approx(0.92)
    assert played.last.info["metrics"]["success"] is True
    assert played.last.info["metrics"]["repeated_calls"] == 1


async def test_the_price_of_a_call_is_a_rule_of_the_run() -> None:
    env = Research(tool_rules={"cost": 0.0, "costs": {"search": 0.3}})
    assert (await play_oracle(env, TASK)).total == pytest.approx(0.7)


@pytest.mark.parametrize(
    "answer",
    ["", "{number}", "{number} {page}", "[{page}] {number}", "{number} [{page}].", "{number} [P10]", "0 [{page}]"],
)
async def test_anything_but_the_number_and_its_page_earns_nothing(answer: str) -> None:
    page = await right_page(Research())
    said = answer.format(number=page.value * 3, page=page.id)
    played = await worked_out(said)
    assert page.id != "P10"
    assert played.total == pytest.approx(-0.06)
    assert played.last.terminated
    assert played.last.info["metrics"]["success"] is False


async def test_the_number_of_the_other_page_earns_nothing() -> None:
    env = Research()
    other = await other_page(env)
    said = [search("lamp"), read(other.id), calculate(f"{other.value}*3")]
    played = await play(env, [*said, f"{other.value * 3} [{other.id}]"], TASK)
    assert played.total == pytest.approx(-0.06)
    assert "calls_when_right" not in played.last.info["metrics"]


async def test_a_right_answer_that_the_tools_have_not_led_to_earns_nothing() -> None:
    """Guessed, calculated before the page was read, or read and calculated in the head."""
    env = Research()
    page = await right_page(env)
    answer = f"{page.value * 3} [{page.id}]"
    product = calculate(f"{page.value}*3")
    attempts: tuple[list[Message | str], ...] = (
        [answer],
        [product, answer],
        [search("lamp"), product, read(page.id), answer],
        [search("lamp"), read(page.id), answer],
        [read(page.id), product, answer],
    )
    for said in attempts:
        played = await play(env, said, TASK)
        assert played.total == pytest.approx(-0.02 * (len(said) - 1))
        assert played.last.info["metrics"]["success"] is False


async def test_a_right_guess_pays_when_the_tools_are_not_required() -> None:
    env = Research(require_tools=False)
    page = await right_page(env)
    assert (await play(env, [f"{page.value * 3} [{page.id}]"], TASK)).total == 1.0


async def test_a_page_that_no_search_has_listed_cannot_be_read() -> None:
    env = Research()
    page = await right_page(env)
    played = await play(env, [read(page.id), search("lamp"), read(page.id)], TASK)
    first, _, last = (step.observation.messages[0].text for step in played.steps)
    assert first == f"Error: no search has listed a page {page.id}."
    assert last == f'{{"price": "{page.value}"}}'
    assert played.last.info["metrics"]["tool_errors"] == 1


async def test_what_one_episode_has_found_is_worth_nothing_in_the_next() -> None:
    env = Research()
    page = await right_page(env)
    await play(env, [search("lamp"), read(page.id), calculate(f"{page.value}*3")], TASK)
    played = await play(env, [read(page.id), f"{page.value * 3} [{page.id}]"], TASK)
    assert "no search has listed" in played.steps[0].observation.messages[0].text
    assert played.total == pytest.approx(-0.02)


async def test_words_that_no_title_has_are_an_error() -> None:
    played = await play(Research(), [search("xylophone")], TASK)
    assert played.last.info["metrics"]["tool_errors"] == 1


async def test_saying_nothing_earns_nothing_and_costs_nothing() -> None:
    played = await play(Research(), [""], TASK)
    assert (played.total, played.last.terminated) == (0.0, True)


async def test_the_eleventh_call_is_refused_and_costs_nothing() -> None:
    played = await play(Research(), [search("lamp")] * 11, TASK)
    assert "which the budget for tools has not left" in played.last.observation.messages[0].text
    assert played.total == pytest.approx(-0.2)


@given(st.integers(0, 2**31), st.integers(0, 500))
@settings(max_examples=40, deadline=None)
async def test_the_oracle_always_needs_three_calls(seed: int, index: int) -> None:
    env = SPEC.make()
    played = await play_oracle(env, env.tasks("test").task(index), seed)
    assert played.total == pytest.approx(SPEC.reward_range[1])
    assert len(played.steps) == 4
    assert played.last.info["metrics"]["success"] is True


@given(st.integers(0, 2**31), st.sampled_from(ITEMS))
@settings(max_examples=60)
def test_a_search_for_an_article_lists_its_price_and_then_its_weight(seed: int, item: str) -> None:
    catalogue = Catalogue.draw(random.Random(seed), item)
    pages = tuple(catalogue.page_of(item, fact) for fact in (Fact.PRICE, Fact.WEIGHT))
    for query in (item, f"the {item.upper()}"):
        assert catalogue.search(query) == pages
    assert pages[0] in catalogue.search(f"{item} price")
    assert pages[1] in catalogue.search(f"the weight of a {item}")
    assert len(catalogue.search("weight")) == 2
    assert len({page.number for page in catalogue.pages}) == len(catalogue.pages) == 6


async def test_the_seed_draws_the_values_so_that_one_question_has_many_answers() -> None:
    env = Research()
    values = {seed: (await right_page(env, seed)).value for seed in range(20)}
    assert len(set(values.values())) > 5
    assert {seed: (await right_page(Research(), seed)).value for seed in range(20)} == values


def test_no_question_of_one_split_is_asked_in_another() -> None:
    env = Research()
    asked = {split: {task.question for task in env.tasks(split).head(500)} for split in ("train", "dev", "test")}
    assert not asked["train"] & asked["dev"]
    assert not asked["train"] & asked["test"]
    assert not asked["dev"] & asked["test"]
    assert len(asked["test"]) > 100


@given(st.integers(0, 10_000))
@settings(max_examples=30)
def test_a_task_survives_a_round_trip_through_json(index: int) -> None:
    task = Research().tasks().task(index)
    assert Task.from_json(task.to_json()) == task


@pytest.mark.parametrize(
    "expression", ["", "3", "1+2+3", "(1+2)", "6/2", "2**9", "1.5*2", "-3+4", "1" * 10 + "+1", "１+２"]
)
def test_the_calculator_refuses_all_but_one_operation_on_two_whole_numbers(expression: str) -> None:
    with pytest.raises(ValueError, match="one operation"):
        evaluate(expression)


@given(st.integers(0, 10**9 - 1), st.sampled_from("+-*"), st.integers(0, 10**9 - 1))
def test_the_calculator_agrees_with_python(left: int, sign: str, right: int) -> None:
    assert evaluate(f"{left}{sign}{right}") == {"+": left + right, "-": left - right, "*": left * right}[sign]


@pytest.mark.parametrize("branch_at", range(4))
async def test_an_episode_branched_at_any_step_goes_on_the_same(branch_at: int) -> None:
    env, branch = Research(), Research()
    await env.reset(seed=11)
    for _ in range(branch_at):
        await env.step(Action(env.oracle()))
    branch.restore(env.snapshot())
    assert branch.state_key() == env.state_key()
    first, again = await continue_oracle(env), await continue_oracle(branch)
    assert [step[:4] for step in first] == [step[:4] for step in again]
    assert first[-1].info["metrics"] == again[-1].info["metrics"]
    assert env.messages == branch.messages


async def test_the_audit_finds_no_error_and_warns_only_that_no_call_is_cheaper_than_a_wrong_one() -> None:
    """An answer without any call earns 0, more than one that calls for nothing: that is what a cost is."""
    report = await audit(SPEC, tasks=8)
    assert report.exit_code == 0
    warned = {finding.probe for finding in report.findings if finding.severity is Severity.WARNING}
    assert warned <= {Probe.PARTIAL_PAY}
