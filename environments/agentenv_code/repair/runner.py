"""Runs named tests beside code that may wish to deceive it. A program of its own: nothing but the standard library.

It reads `{"token": …, "tests": ["module.Class.method", …], "modules": {"module": source, …}}` from standard input, runs
the tests on the repository in the working folder, and writes a line `token index outcome` for each. The code under test
is in the same process, so:

- the tests are in no file, and the token in no module; standard output is moved away from where programs write;
- whoever asks for other people's frames, objects or memory is told by an audit hook, which nobody can remove, and
  nobody can have frames handed to them by a signal;
- unittest and the built-in functions are compared with what they were before the repository was imported;
- a test counts where its code is that of its source, and it ran, and was neither skipped nor expected to fail;
- a test that must fail is run after each: if it passes, everything would;
- an object whose class compares as it likes is equal to none of another class.
"""

from __future__ import annotations

import builtins
import json
import os
import signal  # noqa: F401 - it must not be imported afterwards
import sys
import types
import unittest
from collections.abc import Iterator

PASSED, FAILED, SKIPPED, MISSING = "passed", "failed", "skipped", "missing"
BEGUN, ENDED, TAMPERED = "begun", "ended", "tampered"

_MEMORY = ("gc.get_", "ctypes.", "sys.addaudithook")
_FRAMES = ("sys._getframe", "sys._current_frames", "sys.settrace", "sys.setprofile")
_INSPECT = os.path.join(os.path.dirname(os.__file__), "inspect.py")
_READ = frozenset({"tb_frame", "gi_frame", "cr_frame", "ag_frame", "__closure__"})

_Codes = dict[tuple[str, str], types.CodeType]


class Watch:
    """Notes what no honest code does: looking into its callers, or changing what it is tested with."""

    def __init__(self, root: str) -> None:
        self._root = root
        modules = (unittest.case, unittest.suite, unittest.result, unittest.loader, builtins)
        kinds = [value for module in modules[:-1] for value in vars(module).values() if isinstance(value, type)]
        owners: tuple[types.ModuleType | type, ...] = (*modules, *kinds)
        self._before = {owner: dict(_functions(owner)) for owner in owners}
        self._looking = False
        self.noted: set[str] = set()
        for name in ("signal", "_signal"):
            vars(sys.modules[name])["signal"] = self._refuse_handler
        sys.addaudithook(self._heard)

    def compare(self) -> None:
        """Notes what has been changed since the beginning."""
        for owner, before in self._before.items():
            now = dict(_functions(owner))
            for name, (function, code) in before.items():
                found, its_code = now.get(name, (None, None))
                if found is not function or its_code is not code:
                    self.noted.add(f"changed {owner.__name__}.{name}")

    def _heard(self, event: str, arguments: tuple[object, ...]) -> None:
        if self._looking:
            return
        if event.startswith(_MEMORY) or (event == "object.__setattr__" and arguments[1] == "__code__"):
            self.noted.add(f"used {event}")
        elif event.startswith(_FRAMES) or (event == "object.__getattr__" and arguments[1] in _READ):
            asker = self._asker()
            if asker.startswith(self._root) or (asker == _INSPECT and event.startswith(_FRAMES)):
                self.noted.add(f"used {event}")

    def _refuse_handler(self, *_: object) -> None:
        """In place of `signal.signal`: a handler is given the frame it interrupts, and no hook is told."""
        if self._asker().startswith(self._root):
            self.noted.add("handles a signal")
        raise ValueError("signals cannot be handled while tests run")

    def _asker(self) -> str:
        """The file of whoever has called what this was called from."""
        self._looking = True
        try:
            return sys._getframe(2).f_code.co_filename
        finally:
            self._looking = False


def _functions(owner: types.ModuleType | type) -> Iterator[tuple[str, tuple[object, object]]]:
    """Its functions by name, each with its code."""
    for name, value in vars(owner).items():
        if callable(value) or isinstance(value, classmethod | staticmethod | property):
            yield name, (value, getattr(value, "__code__", None))


class Control(unittest.TestCase):
    """Fails, unless nothing fails any more."""

    def test_that_must_fail(self) -> None:
        self.assertEqual([1], [2])  # noqa: PT009


class Verdict(unittest.TestResult):
    """What came of one test."""

    outcome = MISSING

    def addSuccess(self, test: unittest.TestCase) -> None:
        self.outcome = PASSED if self.outcome == MISSING else self.outcome

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self.outcome = SKIPPED

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: object) -> None:
        self.outcome = self.outcome if err is None else FAILED

    def addFailure(self, test: unittest.TestCase, err: object) -> None:
        self.outcome = FAILED

    def addError(self, test: unittest.TestCase, err: object) -> None:
        self.outcome = FAILED

    def addExpectedFailure(self, test: unittest.TestCase, err: object) -> None:
        self.outcome = FAILED

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        self.outcome = FAILED


def compare_strictly(root: str) -> None:
    """Makes `assertEqual` refuse objects of the repository whose own `__eq__` would decide about another class."""
    plain = unittest.TestCase.assertEqual

    def deciders(value: object, depth: int = 0) -> set[type]:
        code = getattr(type(value).__eq__, "__code__", None)
        if code is not None and code.co_filename.startswith(root):
            return {type(value)}
        if isinstance(value, dict):
            value = [*value, *value.values()]
        if isinstance(value, list | tuple | set | frozenset) and depth < 20:
            return set().union(*(deciders(item, depth + 1) for item in value))
        return set()

    def assertEqual(self: unittest.TestCase, first: object, second: object, msg: object = None) -> None:
        if deciders(first) != deciders(second):
            self.fail("one side brings its own idea of equality")
        plain(self, first, second, msg)

    unittest.TestCase.assertEqual = assertEqual  # type: ignore[method-assign]


def method_codes(module: types.CodeType) -> Iterator[tuple[tuple[str, str], types.CodeType]]:
    """The code of every method of every class of a module, by the two names."""
    for kind in module.co_consts:
        if isinstance(kind, types.CodeType):
            for method in kind.co_consts:
                if isinstance(method, types.CodeType):
                    yield (kind.co_name, method.co_name), method


def run_test(name: str, module: dict[str, object], codes: _Codes) -> str:
    """The outcome of one test of a module that has been run."""
    _, class_name, method_name = name.rsplit(".", 2)
    verdict = Verdict()
    try:
        kind = module[class_name]
        method = vars(kind).get(method_name)
        if getattr(method, "__code__", None) is not codes.get((class_name, method_name), kind):
            return MISSING
        unittest.TestSuite([kind(method_name)]).run(verdict)  # type: ignore[operator]
    except BaseException:
        return FAILED
    return verdict.outcome if verdict.testsRun == 1 else MISSING


def run_module(name: str, code: types.CodeType) -> dict[str, object]:
    """The names a test module defines; none where it cannot be run, as when it imports what is not there."""
    module = types.ModuleType(name)
    module.__package__ = name.rpartition(".")[0]
    try:
        exec(code, vars(module))
    except BaseException:
        return {}
    return vars(module)


def main() -> None:
    order = json.load(sys.stdin)
    token, tests, root = order["token"], order["tests"], os.path.join(os.getcwd(), "")
    channel, nowhere, write, leave = os.dup(1), os.open(os.devnull, os.O_RDWR), os.write, os._exit
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)

    def tell(index: int, outcome: str) -> None:
        write(channel, f"{token} {index} {outcome}\n".encode())

    codes = {name: compile(source, f"<{name}>", "exec", dont_inherit=True) for name, source in order["modules"].items()}
    methods = {name: dict(method_codes(code)) for name, code in codes.items()}
    compare_strictly(root)
    watch, control = Watch(root), Control("test_that_must_fail")
    tell(-1, BEGUN)
    sys.modules["__main__"] = types.ModuleType("__main__")
    sys.path.append(root)
    modules = {name: run_module(name, code) for name, code in codes.items()}
    for index, name in enumerate(tests):
        module = name.rsplit(".", 2)[0]
        outcome = run_test(name, modules[module], methods[module])
        checked = Verdict()
        control.run(checked)
        watch.compare()
        if checked.outcome != FAILED:
            watch.noted.add("a test that must fail does not")
        tell(index, outcome)
    for what in sorted(watch.noted):
        tell(-1, f"{TAMPERED} {what}")
    tell(-1, ENDED)
    leave(0)


if __name__ == "__main__":
    main()
