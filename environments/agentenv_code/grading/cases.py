"""Tests of a program, as they stand in a task's row. Values are plain data as in `agentenv_code.inside.plain`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

from agentenv_code.grading.comparison import normal, show


class FunctionCase(pydantic.BaseModel, frozen=True, extra="forbid"):
    """One call and what it must lead to.

    Attributes:
        args, kwargs: of the call; the function gets copies.
        returns: what it must return, where it must not raise. raises: the name of the exception it must raise instead.
        leaves: what the positional arguments must be afterwards, for functions that change them; `None`: no matter.
    """

    args: tuple[pydantic.JsonValue, ...] = ()
    kwargs: dict[str, pydantic.JsonValue] = {}
    returns: pydantic.JsonValue = None
    raises: str | None = None
    leaves: tuple[pydantic.JsonValue, ...] | None = None

    @pydantic.field_validator("returns", "leaves")
    @classmethod
    def _normal(cls, value: Any) -> Any:
        return tuple(map(normal, value)) if isinstance(value, tuple) else normal(value)

    def call(self, name: str) -> str:
        """The call as Python writes it."""
        named = [f"{key}={show(value)}" for key, value in self.kwargs.items()]
        return f"{name}({', '.join([*map(show, self.args), *named])})"


class ProgramCase(pydantic.BaseModel, frozen=True, extra="forbid"):
    """What a program reads, and what it must write."""

    stdin: str
    stdout: str


class FunctionTests(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Calls of one function.

    Attributes:
        public: what the policy may be told about. hidden: what counts, and nobody is told about.
        tolerance: how far numbers may be off, absolutely or relative to the larger.
    """

    kind: Literal["function"] = "function"
    name: str
    public: tuple[FunctionCase, ...] = ()
    hidden: tuple[FunctionCase, ...] = pydantic.Field(min_length=1)
    tolerance: float = 0.0


class ProgramTests(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Runs of a whole program on standard input and output."""

    kind: Literal["program"] = "program"
    public: tuple[ProgramCase, ...] = ()
    hidden: tuple[ProgramCase, ...] = pydantic.Field(min_length=1)


class Exam(pydantic.BaseModel, frozen=True, extra="forbid"):
    """A test program that calls a function of the candidate's.

    Attributes:
        name: of the function.
        program: defines `check(candidate)`, or functions named `test…`, or classes of `unittest`.
        preamble: runs before the test program and before the candidate: helpers that both may use.
    """

    kind: Literal["exam"] = "exam"
    name: str
    program: str
    preamble: str = ""


Tests = Annotated[FunctionTests | ProgramTests | Exam, pydantic.Field(discriminator="kind")]
_TESTS: pydantic.TypeAdapter[FunctionTests | ProgramTests | Exam] = pydantic.TypeAdapter(Tests)


def read_tests(row: Any) -> FunctionTests | ProgramTests | Exam:
    """The tests in a task's row.

    Raises:
        pydantic.ValidationError: it holds none.
    """
    return _TESTS.validate_python(row)
