"""Runs a test program that calls a candidate which is somewhere else.

No code of the candidate's ever runs in here. Each call becomes a message; whoever carries it brings back plain data.
The test program has a thread of its own, so that it stands still between a call and its answer.
"""

from __future__ import annotations

import builtins
import functools
import json
import os
import queue
import random
import threading
import types
import unittest
from collections.abc import Callable, Iterator
from typing import Any

from agentenv_code.inside.plain import UnplainError, Wire, decode, encode

_MODULE = "tests"
_MOST_TEXT = 500


class CandidateError(Exception):
    """The candidate raised what is no exception of Python's own."""


class _CarriedArgumentError(Exception):
    """The test program wants to hand over what cannot be carried."""


class Examiner:
    """A test program under way.

    A program that defines `check` has it called with the candidate. Otherwise its functions named `test…` and its
    classes of `unittest` are the tests. One without either is itself the test.

    Args:
        key: begins every message; only whoever may say so knows it. name: of the candidate in the test program.
        preamble: runs before it, for helpers.
    """

    def __init__(self, key: str, preamble: str, program: str, name: str) -> None:
        self._key, self._preamble, self._program, self._name = key, preamble, program, name
        self._said: queue.SimpleQueue[Wire] = queue.SimpleQueue()
        self._heard: queue.SimpleQueue[Wire] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._examine, daemon=True)

    def begin(self) -> None:
        """Runs the test program up to its first call, or its end, and says which."""
        self._thread.start()
        self._tell()

    def answer(self, reply: str) -> None:
        """Brings the reply to the last call, as JSON, and goes on to the next, or the end."""
        self._heard.put(json.loads(reply))
        self._tell()

    def _tell(self) -> None:
        os.write(1, f"\n{self._key} {json.dumps(self._said.get())}\n".encode())

    def _examine(self) -> None:
        random.seed(0)  # the same test for everybody
        passed, failures = 0, []
        try:
            for name, test in self._tests():
                problem = _problem(test)
                if problem is None:
                    passed += 1
                else:
                    failures.append(f"{name}: {problem}"[:_MOST_TEXT])
        except BaseException as error:
            failures.append(_described(error))
        self._said.put({"passed": passed, "failures": failures})

    def _tests(self) -> Iterator[tuple[str, Callable[[], object]]]:
        module = types.ModuleType(_MODULE)
        names = vars(module)
        for source in (self._preamble, self._program):
            names.update({self._name: self._candidate, "candidate": self._candidate})
            exec(compile(source, f"{_MODULE}.py", "exec", dont_inherit=True), names)
        if callable(names.get("check")):
            yield "check", lambda: names["check"](self._candidate)
            return
        found = list(_named_tests(names))
        yield from found or [(_MODULE, lambda: None)]

    def _candidate(self, *args: object, **kwargs: object) -> Any:
        try:
            carried = [encode(one) for one in args], {name: encode(one) for name, one in kwargs.items()}
        except UnplainError as error:
            self._said.put({"unfit": f"it hands the candidate {error}"})
            raise _CarriedArgumentError from error
        self._said.put({"call": self._name, "args": carried[0], "kwargs": carried[1]})
        reply = self._heard.get()
        if "raised" in reply:
            raise _exception(reply["raised"], reply["message"])
        return decode(reply["value"])


def _named_tests(names: dict[str, Any]) -> Iterator[tuple[str, Callable[[], object]]]:
    for name, value in names.items():
        if isinstance(value, type) and issubclass(value, unittest.TestCase):
            for test in unittest.defaultTestLoader.getTestCaseNames(value):
                yield f"{name}.{test}", functools.partial(_run, value(test))
        elif name.startswith("test") and callable(value):
            yield name, value


def _run(test: unittest.TestCase) -> None:
    """Runs one test of a class; whatever is not a plain success is raised."""
    result = unittest.TestResult()
    test.run(result)
    for _, told in [*result.failures, *result.errors]:
        raise AssertionError(told)
    if result.skipped or result.expectedFailures or result.unexpectedSuccesses or not result.testsRun:
        raise AssertionError("it was skipped, or expected to fail")


def _problem(test: Callable[[], object]) -> str | None:
    try:
        test()
    except BaseException as error:  # a skipped test among them
        return _described(error)
    return None


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:_MOST_TEXT]


def _exception(name: str, message: str) -> Exception:
    """An exception like the candidate's; never one that ends the interpreter, and never a test's own verdict."""
    kind = vars(builtins).get(name)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(message)
        except TypeError:  # it takes other arguments, as UnicodeDecodeError does
            pass
    return CandidateError(f"{name}: {message}")
