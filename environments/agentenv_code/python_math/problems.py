"""Problems whose answer is a number and for which a computer helps: invented ones, and files in GSM8K's format."""

from __future__ import annotations

import functools
import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agentenv.errors import ConfigError, MissingDataError
from agentenv.messages import user
from agentenv.tasks import ListTasks, ProceduralTasks, Task, TaskSet
from agentenv_code.python_math.answers import parse_number

DEV_EVERY = 10
"""Every tenth row of the training file is the dev split; GSM8K itself has none."""

_EXPECTED = (
    "GSM8K is a folder with train.jsonl and test.jsonl, one JSON object a line: "
    '{"question": "…", "answer": "… #### 42"}. Get both files from grade_school_math/data in '
    "https://github.com/openai/grade-school-math, or leave path away for problems of our own"
)


@dataclass(frozen=True, slots=True)
class Problem:
    """A question, its answer, and a program that prints the answer."""

    question: str
    answer: int
    program: str

    def task(self) -> Task:
        """The problem as a row; its id and split are filled in by the task source."""
        return Task("", (user(self.question),), self.answer, {"program": self.program})


def invented(split: str, seed: int) -> TaskSet:
    """Endless problems of our own: counting, primes, digits, and amounts that grow from year to year."""
    return ProceduralTasks(lambda rng: rng.choice(KINDS)(rng).task(), split=split, seed=seed)


def _multiples(rng: random.Random) -> Problem:
    first, second = rng.sample(range(3, 20), 2)
    limit = rng.randint(200, 5_000)
    return Problem(
        f"What is the sum of all positive whole numbers below {limit} that can be divided by {first} or by {second}?",
        sum(number for number in range(limit) if number % first == 0 or number % second == 0),
        f"print(sum(n for n in range({limit}) if n % {first} == 0 or n % {second} == 0))",
    )


def _primes(rng: random.Random) -> Problem:
    low = rng.randint(100, 3_000)
    high = low + rng.randint(100, 900)
    return Problem(
        f"How many prime numbers are greater than {low} and smaller than {high}?",
        sum(all(number % other for other in range(2, math.isqrt(number) + 1)) for number in range(low + 1, high)),
        f"print(sum(all(n % k for k in range(2, int(n**0.5) + 1)) for n in range({low} + 1, {high})))",
    )


def _digits(rng: random.Random) -> Problem:
    base, power = rng.randint(2, 30), rng.randint(20, 120)
    return Problem(
        f"What is the sum of the decimal digits of {base} to the power of {power}?",
        sum(int(digit) for digit in str(base**power)),
        f"print(sum(int(digit) for digit in str({base}**{power})))",
    )


def _orchard(rng: random.Random) -> Problem:
    trees, planted, years = rng.randint(40, 400), rng.randint(5, 60), rng.randint(5, 25)
    loss = rng.choice((5, 8, 10, 12, 20))
    left = trees
    for _ in range(years):
        left = left - left * loss // 100 + planted
    return Problem(
        f"An orchard has {trees} trees. Every winter {loss} percent of the trees there are die, rounded down to a "
        f"whole number, and every spring after it {planted} new ones are planted. How many trees are there after "
        f"{years} years?",
        left,
        f"trees = {trees}\nfor year in range({years}):\n    trees = trees - trees * {loss} // 100 + {planted}\n"
        "print(trees)",
    )


def _coins(rng: random.Random) -> Problem:
    coins = sorted(rng.sample((1, 2, 5, 10, 20, 50), 4))
    amount = rng.randint(60, 300)
    ways = [1] + [0] * amount
    for coin in coins:
        for total in range(coin, amount + 1):
            ways[total] += ways[total - coin]
    named = ", ".join(map(str, coins[:-1])) + f" and {coins[-1]}"
    return Problem(
        f"In how many ways can exactly {amount} cents be paid with coins of {named} cents, if there are enough of each "
        "and the order does not matter?",
        ways[amount],
        f"ways = [1] + [0] * {amount}\nfor coin in {coins}:\n    for total in range(coin, {amount} + 1):\n"
        f"        ways[total] += ways[total - coin]\nprint(ways[{amount}])",
    )


KINDS: tuple[Callable[[random.Random], Problem], ...] = (_multiples, _primes, _digits, _orchard, _coins)


def from_files(path: Path, split: str) -> TaskSet:
    """The rows of GSM8K's files: `test` is test.jsonl, `dev` every tenth row of train.jsonl and `train` the others.

    Raises:
        MissingDataError: there is no such file; says where to get it.
        ConfigError: an unknown split, or a malformed line, named by its number.
    """
    if split not in ("train", "dev", "test"):
        raise ConfigError(f"GSM8K has the splits train, dev and test, not {split!r}")
    file = path / ("test.jsonl" if split == "test" else "train.jsonl")
    if not file.is_file():
        raise MissingDataError(f"There is no {file}. {_EXPECTED}")
    rows = _read(file, file.stat().st_mtime_ns)
    if split != "test":
        rows = tuple(row for index, row in enumerate(rows) if (index % DEV_EVERY == DEV_EVERY - 1) == (split == "dev"))
    return ListTasks([Task(row.id, row.prompt, row.answer, row.data, split) for row in rows])


@functools.lru_cache(maxsize=4)
def _read(file: Path, changed: int) -> tuple[Task, ...]:
    """Every row of a file. An environment is made per episode, so the rows are kept until the file changes."""
    lines = enumerate(file.read_text(encoding="utf-8").split("\n"), start=1)
    return tuple(_row(line, f"{file.stem}-{number}", f"{file}:{number}") for number, line in lines if line.strip())


def _row(line: str, id: str, where: str) -> Task:
    try:
        row = json.loads(line)
        question, answer = row["question"].strip(), row["answer"].rpartition("####")[2].strip()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"{where} is no row of GSM8K ({type(error).__name__}: {error}). {_EXPECTED}") from error
    if parse_number(answer) is None:
        raise ConfigError(f'{where}: the answer must end in "#### NUMBER", but ends in {answer[-40:]!r}')
    return Task.ask(f"gsm8k-{id}", question, answer=answer)
