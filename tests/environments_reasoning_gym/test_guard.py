"""No answer runs as a program, and the guard against it changes no honest verdict."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentenv.env import Action, StepResult
from agentenv.messages import assistant
from agentenv.registry import make
from agentenv_reasoning_gym.guard import ARITHMETIC, CALCULUS, LITERAL, UNREADABLE, admitted
from agentenv_reasoning_gym.items import Items, items_of
from tests.conftest import require

GUARDED = sorted(LITERAL | ARITHMETIC | CALCULUS)

HARMLESS = {
    "binary_matrix": ["0 1\n1 0", "[[0, 1], [1, 0]]", "[[0, -1], 'x', {1: 2}]", "5", "I am not sure.", "[[0, 1], [1"],
    "spiral_matrix": ["1 2 3", "[1, 2, 3]", "'123'", "(1, 2, 3)", "no idea", "None"],
    "string_insertion": ["ABCDE", "['A', 'B']", "'ABC'", "the string is ABC", "abc"],
    "n_queens": ["_ Q _\nQ _ _", "_Q__\n__Q_", "[['_', 'Q'], ['Q', '_']]", "['_Q', 'Q_']", ". Q .", "no"],
    "countdown": [
        "1 + 2",
        "6*(98 - 54) - 34 - 66",
        "6(98 - 54)",
        "7/0",
        "2**3 ^ 1",
        "6 x 4",
        "6 × 4 = 24",
        "hello",
        "-",
    ],
    "puzzle24": ["6+6+6+6", "(1 + 1)(4 + 2)", "24", "8/(3 - 8/3)", "4 * 6 = 24", "impossible", "x + 1"],
    "simple_integration": ["x**2 + C", "X + C1", "x^2", "2x", "sqrt(x)*sin(pi*x)", "C", "unknown"],
    "intermediate_integration": [
        "exp(x)*log(x) + C",
        "Integral(x**3*cos(3*x), x)",
        "ln(x)",
        "∫x dx",
        "tan(x)/E",
        "a lot",
    ],
    "polynomial_multiplication": ["x**2 + 2*x + 1", "-4*(y - 3)*y", "x^2 + 1", "3z", "0", "1.5*x", "x + "],
}

HOSTILE = [
    "__import__('pathlib').Path({mark!r}).touch()",
    "open({mark!r}, 'w')",
    "[open({mark!r}, 'w')]",
    "[[0, 1], __import__('os').system('touch {mark}')]",
    "(lambda: open({mark!r}, 'w'))()",
    "[open({mark!r}, 'w') for _ in (1,)]",
    "f\"{open({mark!r}, 'w')}\"",
    "1 + eval(repr(open({mark!r}, 'w')))",
    "().__class__.__base__.__subclasses__()",
    "(x).func",
    "(1).__class__(2)",
    "sin.__globals__",
    "E.__class__",
    "[*open({mark!r}, 'w')]",
    "sqrt(x, evaluate=open({mark!r}, 'w'))",
    "sqrt(*open({mark!r}, 'w'))",
    "9**9**9",
    "((9**99)**99)**99",
    "9**(x - x + 9**9)",
    "9**(1/(1/9**9))",
    "1/1e-999999999",
    "(y := 5)",
    "sympify('1')",
    "x(3)",
    "𝚘𝚙𝚎𝚗({mark!r}, 'w')",
    "-" * 1000 + "1",
    "9" * 300_000 + "+1",
]


@pytest.fixture(autouse=True)
def _installed() -> None:
    try:
        import reasoning_gym  # noqa: F401
    except ModuleNotFoundError:
        require(False, "reasoning-gym")


async def _step(dataset: str, answer: str) -> StepResult:
    env = make(f"reasoning_gym/{dataset}-v0")
    await env.reset(seed=0)
    return await env.step(Action(assistant(f"<answer>{answer}</answer>")))


@pytest.mark.parametrize("dataset", GUARDED)
def test_every_example_answer_passes_as_it_is_and_earns_full_marks(dataset: str) -> None:
    items = items_of(dataset, {})
    for number in range(60):
        item = items.item(number)
        assert admitted(dataset, item.example) == item.example
        score = items.score(item.entry, item.example)
        assert (score.value, score.refused) == (1.0, False)


@pytest.mark.parametrize("dataset", GUARDED)
def test_a_harmless_answer_scores_what_the_bare_verifier_gives(dataset: str) -> None:
    items = items_of(dataset, {})
    for number in range(2):
        entry = items.item(number).entry
        for answer in HARMLESS[dataset]:
            score = items.score(entry, answer)
            assert (score.value, score.refused) == (items._dataset.score_answer(answer, entry), False), answer


@pytest.mark.parametrize(("dataset", "partial"), [("binary_matrix", 0.1), ("spiral_matrix", 0.1), ("n_queens", 0.5)])
def test_the_right_answer_as_a_python_list_still_earns_its_partial_credit(dataset: str, partial: float) -> None:
    items = items_of(dataset, {})
    item = items.item(3)
    rows = [line.split() for line in str(item.example).splitlines()]
    if dataset != "n_queens":
        rows = [[int(cell) for cell in row] for row in rows]  # type: ignore[misc]
    answer = str(rows[0] if dataset == "spiral_matrix" else rows)
    assert items.score(item.entry, answer).value == partial


@pytest.mark.parametrize("dataset", GUARDED)
def test_a_program_earns_nothing_and_does_not_run(dataset: str, tmp_path: Path) -> None:
    items = items_of(dataset, {})
    entry = items.item(0).entry
    mark = tmp_path / "ran"
    for text in HOSTILE:
        answer = text.replace("{mark!r}", repr(str(mark))).replace("{mark}", str(mark))
        score = items.score(entry, answer)
        assert (score.value, score.refused) == (0.0, True), answer
    assert not mark.exists()


def test_the_same_program_runs_where_the_verifier_is_called_directly(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    items = Items("n_queens", {})
    items._dataset.score_answer(HOSTILE[0].replace("{mark!r}", repr(str(mark))), items.item(0).entry)
    assert mark.exists()


@pytest.mark.parametrize("dataset", ["n_queens", "countdown"])
async def test_an_episode_with_a_refused_answer_scores_zero_and_says_so(dataset: str, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    refused = await _step(dataset, f"open({str(mark)!r}, 'w')")
    assert refused.reward == 0.0
    assert refused.info["metrics"]["refused_answer"] == 1
    assert not mark.exists()
    ordinary = await _step(dataset, "1 + 2 +")
    assert ordinary.info["metrics"]["refused_answer"] == 0


def test_a_member_of_composite_is_guarded_under_its_own_name(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    items = Items("composite", {"datasets": [{"name": "n_queens", "weight": 1.0, "config": {"min_remove": 1}}]})
    item = items.item(0)
    assert items.score(item.entry, f"open({str(mark)!r}, 'w')").refused
    assert items.score(item.entry, item.example).value == 1.0
    assert not mark.exists()


def test_names_in_the_verifiers_own_scope_cannot_be_read() -> None:
    items = Items("string_insertion", {})
    entry = items.item(0).entry
    assert items._dataset.score_answer("oracle_answer", entry) == 0.1
    assert items.score(entry, "oracle_answer").value == 0.0


def test_datasets_that_evaluate_nothing_see_every_answer_unchanged() -> None:
    assert admitted("chain_sum", "open('x')") == "open('x')"
    assert admitted("countdown", None) is None


@given(st.text(alphabet="x9Eeso.*(/)+-_[]'\"\\#\n:,=! ", max_size=40), st.sampled_from(GUARDED))
def test_what_an_evaluating_verifier_sees_is_the_answer_or_nothing_and_reaches_into_nothing(
    answer: str, dataset: str
) -> None:
    seen = admitted(dataset, answer)
    assert seen in (None, UNREADABLE, answer)
    if seen and dataset not in LITERAL:
        tree = list(ast.walk(ast.parse(seen.strip(), mode="eval")))
        assert not any(isinstance(node, ast.Attribute | ast.Subscript | ast.JoinedStr | ast.NamedExpr) for node in tree)
        assert "__" not in seen
        assert not any(isinstance(node, ast.Constant) and isinstance(node.value, str) for node in tree)
