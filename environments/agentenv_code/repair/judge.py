"""Judges an agent's changes: on a fresh copy of the repository, in a sandbox no agent has seen, by tests with names."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files

from agentenv.errors import VerifierError
from agentenv.sandbox import Limits, SandboxBackend
from agentenv.sandbox.sharing import BorrowedBackend
from agentenv_code.repair import runner
from agentenv_code.repair.changes import Changes, Tree, is_test
from agentenv_code.repair.instances import Instance
from agentenv_code.terminal.files import write_tree

_RUNNER = files("agentenv_code.repair").joinpath("runner.py").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What came of the tests.

    Attributes:
        outcomes: one for each judged test; whoever ends the run early leaves the rest `missing`.
        ended: the run came to its end. tampering: what was done to deceive it, a few words each.
    """

    outcomes: dict[str, str]
    ended: bool
    tampering: tuple[str, ...]

    def passed(self, tests: tuple[str, ...]) -> float:
        """The share of these tests that passed; 1 of none."""
        return sum(self.outcomes[name] == runner.PASSED for name in tests) / len(tests) if tests else 1.0

    def resolves(self, instance: Instance) -> bool:
        """Whether everything passed that should, and nobody was deceived."""
        return self.ended and not self.tampering and self.passed(instance.judged) == 1.0


async def judge(
    sandboxes: BorrowedBackend | SandboxBackend, limits: Limits, instance: Instance, changes: Changes
) -> Judgement:
    """Runs the instance's tests on the repository with the changes.

    Raises:
        VerifierError: the runner could not even begin: the sandbox has no Python, for example.
        SandboxError: the sandbox failed.
    """
    modules = dict(found for name in instance.judged if (found := instance.module_of(name)) is not None)
    token = secrets.token_hex(16)
    order = {"token": token, "tests": instance.judged, "modules": modules}
    async with sandboxes.sandbox(limits) as sandbox:
        await write_tree(sandbox, _repository(instance, changes, modules).items(), ".")
        result = await sandbox.exec(["python3", "-I", "-S", "-B", "-c", _RUNNER], stdin=json.dumps(order).encode())
    judgement = _read(result.stdout.text, token, instance)
    if judgement is None:
        raise VerifierError(f"the tests of {instance.instance_id} could not begin: {result.stderr.text.strip()[-300:]}")
    return judgement


def _repository(instance: Instance, changes: Changes, modules: Iterable[str]) -> Tree:
    """The agent's code and our tests, without those that are judged: they are handed to the runner alone."""
    code = {path: data for path, data in changes.applied(instance.snapshot).items() if not is_test(path)}
    tests = {path: data for path, data in {**instance.snapshot, **instance.tests}.items() if is_test(path)}
    for module in modules:
        tests.pop(f"{module.replace('.', '/')}.py", None)
    return code | tests


def _read(text: str, token: str, instance: Instance) -> Judgement | None:
    """What the runner wrote; `None` where it did not begin."""
    outcomes = dict.fromkeys(instance.judged, runner.MISSING)
    notes, said = [], set()
    for line in text.splitlines():
        if not line.startswith(f"{token} "):
            notes.append("wrote among the results")
            continue
        index, outcome = line.split(" ", 2)[1:]
        said.add(outcome)
        if int(index) >= 0:
            outcomes[instance.judged[int(index)]] = outcome
        elif outcome.startswith(runner.TAMPERED):
            notes.append(outcome.removeprefix(runner.TAMPERED).strip())
    if runner.BEGUN not in said:
        return None
    return Judgement(outcomes, runner.ENDED in said, tuple(dict.fromkeys(notes)))
