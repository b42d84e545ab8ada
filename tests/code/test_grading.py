"""What a grader pays for: calls of a function, test programs that call it from elsewhere, and whole programs."""

from __future__ import annotations

import pytest

from agentenv.errors import VerifierError
from agentenv_code.grading.cases import Exam, FunctionCase, FunctionTests, ProgramCase, ProgramTests, read_tests
from agentenv_code.grading.grader import Grader
from agentenv_code.grading.verdict import Tampering, Verdict

SQUARES = FunctionTests(name="f", hidden=tuple(FunctionCase(args=(x,), returns=x * x) for x in range(4)))
SQUARE = "def f(x):\n    return x * x\n"


def exam(program: str) -> Exam:
    return Exam(name="f", program=program)


# Calls.


async def test_a_right_function_passes_and_a_half_right_one_passes_half(grader: Grader) -> None:
    assert await grader.grade(SQUARE, SQUARES) == Verdict(4, 4)
    half = await grader.grade("def f(x):\n    return x * x if x < 2 else None", SQUARES)
    assert (half.passed, half.fraction, half.solved) == (2, 0.5, False)


async def test_one_call_that_fails_or_hangs_costs_only_itself(grader: Grader) -> None:
    quick = Grader(grader.sandboxes, grader.limits, call_seconds=0.3)
    verdict = await quick.grade(
        "def f(x):\n    if x == 1:\n        raise ValueError('no')\n    while x == 2:\n        pass\n    return x * x",
        SQUARES,
    )
    assert (verdict.passed, verdict.problem) == (2, "raised ValueError: no")


async def test_what_is_printed_changes_nothing(grader: Grader) -> None:
    noisy = (
        "import os\nprint('loading')\ndef f(x):\n    print(x, flush=True)\n    os.write(1, b'raw\\n')\n    return x * x"
    )
    assert await grader.grade(noisy, SQUARES) == Verdict(4, 4)


async def test_values_of_every_plain_type_can_be_asked_for(grader: Grader) -> None:
    cases = [
        {"args": [{"$tuple": [1, 2]}], "returns": {"$tuple": [2, 1]}},
        {"args": [{"$set": [3, 1]}], "returns": [1, 3]},
        {"args": [{"$dict": [[1, "one"]]}], "kwargs": {"turn": True}, "returns": {"one": 1}},
        {"args": ["x"], "raises": "TypeError"},
    ]
    code = (
        "def f(value, turn=False):\n"
        "    if isinstance(value, tuple): return value[::-1]\n"
        "    if isinstance(value, set): return sorted(value)\n"
        "    return {v: k for k, v in value.items()} if turn else value + 1"
    )
    tests = read_tests({"kind": "function", "name": "f", "hidden": cases})
    assert await grader.grade(code, tests) == Verdict(4, 4)


async def test_arguments_are_copies_unless_a_test_asks_what_became_of_them(grader: Grader) -> None:
    case = FunctionCase(args=([2, 1],), returns=None, leaves=([1, 2],))
    tests = FunctionTests(name="f", hidden=(case,))
    assert (await grader.grade("def f(items):\n    items.sort()", tests)).solved
    assert not (await grader.grade("def f(items):\n    items = sorted(items)", tests)).solved


async def test_dictionaries_of_the_standard_library_are_dictionaries(grader: Grader) -> None:
    tests = FunctionTests(name="f", hidden=(FunctionCase(args=("aab",), returns={"a": 2, "b": 1}),))
    assert (await grader.grade("from collections import Counter as f", tests)).solved


# Test programs.


@pytest.mark.parametrize(
    "program",
    [
        "def check(candidate):\n    assert candidate(3) == 9",
        "def test_one():\n    assert f(3) == 9\ndef test_two():\n    assert f(-1) == 1",
        "import unittest\nclass T(unittest.TestCase):\n    def test_one(self):\n        self.assertEqual(f(3), 9)",
        "assert candidate(3) == 9",
    ],
)
async def test_a_test_program_passes_who_is_right_and_nobody_else(grader: Grader, program: str) -> None:
    assert (await grader.grade(SQUARE, exam(program))).solved
    wrong = await grader.grade("def f(x):\n    return 0", exam(program))
    assert (wrong.passed, wrong.solved) == (0, False)


async def test_the_candidate_remembers_from_one_call_to_the_next(grader: Grader) -> None:
    code = "seen = []\ndef f(x):\n    seen.append(x)\n    return len(seen)"
    assert (await grader.grade(code, exam("def check(c):\n    assert [c(0), c(0), c(0)] == [1, 2, 3]"))).solved


async def test_an_exception_reaches_the_test_program_and_can_be_expected(grader: Grader) -> None:
    expecting = exam(
        "def check(candidate):\n    try:\n        candidate(-1)\n"
        "    except ValueError as error:\n        assert str(error) == 'no'\n"
        "    else:\n        assert False"
    )
    assert (await grader.grade("def f(x):\n    raise ValueError('no')", expecting)).solved
    assert not (await grader.grade("def f(x):\n    raise KeyError('no')", expecting)).solved


async def test_what_a_candidate_does_to_its_arguments_does_not_reach_the_test(grader: Grader) -> None:
    trusting = exam("def check(candidate):\n    data = [3, 1]\n    assert candidate(data) == sorted(data)")
    assert not (await grader.grade("def f(items):\n    items.clear()\n    return []", trusting)).solved


@pytest.mark.parametrize(
    "skipping",
    [
        "import unittest\nclass T(unittest.TestCase):\n    def test_call(self):\n        f(1)\n"
        "    @unittest.skip('later')\n    def test_it(self):\n        pass",
        "import unittest\nclass T(unittest.TestCase):\n"
        "    @unittest.expectedFailure\n    def test_it(self):\n        assert f(1) == 2",
        "import unittest\ndef test_it():\n    f(1)\n    raise unittest.SkipTest",
    ],
)
async def test_a_skipped_test_is_not_a_passed_one(grader: Grader, skipping: str) -> None:
    assert not (await grader.grade(SQUARE, exam(skipping))).solved


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("def check(candidate):\n    pass", "never called the candidate"),
        ("", "never called the candidate"),
        ("this is no Python", "SyntaxError"),
        ("import os\nos._exit(0)", "before its first call"),
        (
            "def check(candidate):\n    candidate(lambda: 1)",
            "cannot be used: it hands the candidate a value of type function",
        ),
    ],
)
async def test_a_test_program_at_fault_is_nobodys_failure(grader: Grader, program: str, message: str) -> None:
    with pytest.raises(VerifierError, match=message):
        await grader.grade(SQUARE, exam(program))


async def test_a_value_that_keeps_the_test_program_busy_is_the_candidates_failure(grader: Grader) -> None:
    limits = type(grader.limits)(wall_seconds=1.0)
    busy = exam("def check(candidate):\n    for _ in range(candidate(0)):\n        pass")
    verdict = await Grader(grader.sandboxes, limits).grade("def f(x):\n    return 10**12", busy)
    assert verdict.passed == 0


# Whole programs.


async def test_a_program_is_judged_by_what_it_writes(grader: Grader) -> None:
    cases = tuple(ProgramCase(stdin=f"{x}\n", stdout=f"{x * x}\nend\n") for x in range(3))
    tests = ProgramTests(hidden=cases)
    assert (await grader.grade("print(int(input()) ** 2, '  \\nend', end='\\n\\n')", tests)).solved
    assert not (await grader.grade("print('', int(input()) ** 2)\nprint('end')", tests)).passed
    assert (await grader.grade("x = int(input())\nprint(x * x)\nprint('end')\nassert x < 2", tests)).passed == 2


# Tampering.


async def test_who_tampers_is_paid_nothing_even_for_right_answers(grader: Grader) -> None:
    verdict = await grader.grade("import builtins\nbuiltins.vars = lambda *_: {}\n" + SQUARE, SQUARES)
    assert verdict.fraction == 0.0
    assert verdict.tampering
    peeking = await grader.grade("import gc\ndef f(x):\n    gc.get_objects()\n    return x * x", SQUARES)
    assert (peeking.passed, peeking.fraction, peeking.tampering) == (4, 0.0, frozenset({Tampering.PEEKED}))


async def test_honest_programs_are_not_accused(grader: Grader) -> None:
    code = (
        "import collections, dataclasses, enum, functools, inspect, logging, pathlib, random, sys, tempfile, typing\n"
        "sys.setrecursionlimit(5000)\n"
        "Point = collections.namedtuple('Point', 'x y')\n"
        "@dataclasses.dataclass\nclass Box:\n    x: int\n"
        "class Colour(enum.Enum):\n    RED = 1\n"
        "def sum(x):\n    return x * x\n"
        "@functools.lru_cache\ndef f(x):\n"
        "    logging.getLogger(__name__).warning('hello')\n"
        "    with tempfile.NamedTemporaryFile('w') as file:\n        file.write('x')\n"
        "    return sum(Box(Point(x, 0).x).x)\n"
    )
    assert await grader.grade(code, SQUARES) == Verdict(4, 4)
