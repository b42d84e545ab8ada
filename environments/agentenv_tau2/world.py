"""What worlds have in common: tools by name, preparation, assertions, and a fingerprint of what has changed."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic

from agentenv.arguments import ArgumentsError
from agentenv.errors import ConfigError, nearest
from agentenv.tools import ToolError, ToolSet, marked_tools
from agentenv_tau2.rows import Assertion, Criteria, GoldCall, InitialState, PastMessage, Row, Side, WorldCall
from agentenv_tau2.tables import Record, Table

CALL_FAILED = (ToolError, ArgumentsError)
"""What a call raises that did not work out."""


class Toolbox:
    """An object whose `@tool` methods somebody is offered.

    `preparations` and `assertions` name other methods of it, which task rows may call; nobody is offered those.
    """

    preparations: ClassVar[frozenset[str]] = frozenset()
    assertions: ClassVar[frozenset[str]] = frozenset()

    def __init__(self) -> None:
        self.tools = ToolSet(marked_tools(self))

    def call(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """Calls a tool at once, as the ground truth does.

        Raises:
            ToolError: the tool could not do it. ArgumentsError: it does not take these. ConfigError: there is none.
        """
        found = next((tool for tool in self.tools if tool.spec.name == name), None)
        if found is None:
            raise ConfigError(_unknown("tool", name, self.tool_names))
        return found.function(**found.reader.read(dict(arguments)).values)

    @property
    def tool_names(self) -> tuple[str, ...]:
        return tuple(tool.spec.name for tool in self.tools)

    def state(self) -> Any:
        """What `take` goes back to. A value: safe to keep."""
        return None

    def take(self, state: Any) -> None:
        """Goes back to a state."""

    def leave(self) -> None:
        """What its owner does with it when the conversation is over, where a script plays the owner."""


class World(Toolbox):
    """The database of one episode with the agent's tools on it, and what the user has in hand.

    Args:
        digest: of the file that the shared records come from.
        tables: by name.
        user: the user's own tools.
    """

    def __init__(self, digest: str, tables: Mapping[str, Table[Any]], user: Toolbox | None = None) -> None:
        super().__init__()
        self._digest = digest
        self._tables = tables
        self.user = Toolbox() if user is None else user

    def side(self, side: Side) -> Toolbox:
        return self if side is Side.AGENT else self.user

    def fingerprint(self) -> str:
        """A hash of the agent's database: equal for worlds over one file that hold the same, however they got there."""
        changed = {
            name: {id: record.model_dump(mode="json") for id, record in table.differences.items()}
            for name, table in self._tables.items()
        }
        said = json.dumps([self._digest, changed], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(said.encode()).hexdigest()

    @property
    def changed(self) -> tuple[str, ...]:
        """The records that differ from the file's, as `table/id`."""
        return tuple(f"{name}/{id}" for name, table in self._tables.items() for id in table.differences)

    def prepare(self, initial: InitialState | None) -> None:
        """Brings the world into the state that a task begins with.

        Raises:
            ConfigError: the row asks for something that is not known, or its past calls give other results here.
        """
        if initial is None:
            return
        if initial.initialization_data is not None:
            for name, records in initial.initialization_data.agent_data.items():
                self._lay_over(name, records)
        for call in initial.initialization_actions or ():
            try:
                self._do(call)
            except (*CALL_FAILED, TypeError) as problem:
                raise ConfigError(f"the initial call of {call.func_name} fails: {problem}") from problem
        self._repeat(initial.message_history or ())

    def holds(self, assertion: Assertion) -> bool:
        """Whether it is as the assertion says."""
        found: bool = getattr(self.side(assertion.env_type), assertion.func_name)(**assertion.arguments)
        return found is assertion.assert_value

    def truth(self, criteria: Criteria) -> tuple[GoldCall, ...]:
        """The calls that solve a task: those it names, or where it names none, those that make its assertions hold."""
        if criteria.actions is not None:
            return criteria.actions
        return tuple(call for assertion in criteria.env_assertions or () for call in self.toward(assertion))

    def toward(self, assertion: Assertion) -> tuple[GoldCall, ...]:
        """Calls of the agent's that make an assertion hold; none where that is somebody else's business."""
        return ()

    def check(self, row: Row) -> None:
        """Refuses a row that names what this world does not have.

        Raises:
            ConfigError: by name.
        """
        criteria, initial = row.evaluation_criteria, row.initial_state
        calls = list((initial and initial.initialization_actions) or ())
        calls += [
            WorldCall(env_type=gold.requestor, func_name=gold.name, arguments=gold.arguments)
            for gold in criteria.actions or ()
        ]
        for call in calls:
            box = self.side(call.env_type)
            if call.func_name not in box.preparations and call.func_name not in box.tool_names:
                raise ConfigError(f"task {row.id}: {_unknown('function', call.func_name, box.tool_names)}")
        for assertion in criteria.env_assertions or ():
            box = self.side(assertion.env_type)
            if assertion.func_name not in box.assertions:
                known = tuple(sorted(box.assertions))
                raise ConfigError(f"task {row.id}: {_unknown('assertion', assertion.func_name, known)}")
            try:
                inspect.signature(getattr(box, assertion.func_name)).bind(**assertion.arguments)
            except TypeError as problem:
                raise ConfigError(f"task {row.id}: {assertion.func_name}: {problem}") from problem

    def state(self) -> Any:
        return {name: table.own() for name, table in self._tables.items()}, self.user.state()

    def take(self, state: Any) -> None:
        own, users = state
        for name, table in self._tables.items():
            table.take(own[name])
        self.user.take(users)

    def _do(self, call: WorldCall) -> None:
        box = self.side(call.env_type)
        if call.func_name in box.preparations:
            getattr(box, call.func_name)(**call.arguments)
        else:
            box.call(call.func_name, call.arguments)

    def _lay_over(self, name: str, records: Mapping[str, Any]) -> None:
        table = self._tables.get(name)
        if table is None:
            raise ConfigError(_unknown("table", name, tuple(self._tables)))
        for id, values in records.items():
            there = table[id].model_dump(mode="json") if id in table else {}
            try:
                table[id] = table.kind.model_validate(_merged(there, values))
            except pydantic.ValidationError as problem:
                raise ConfigError(f"the initial data for {name}/{id} make no record: {problem}") from problem

    def _repeat(self, past: tuple[PastMessage, ...]) -> None:
        """Makes the calls of a conversation that came before, and insists on their results."""
        answers = {message.id: message.content for message in past if message.role == "tool"}
        for call in (call for message in past for call in message.tool_calls):
            try:
                found = written(self.call(call.name, call.arguments))
            except CALL_FAILED as problem:
                raise ConfigError(f"the past call of {call.name} fails: {problem}") from problem
            if found != (said := json.loads(answers.get(call.id) or "null")):
                raise ConfigError(f"the past call {call.name} gives {found} here, but the task says {said}")


def written(result: object) -> Any:
    """A tool's result as JSON has it."""
    return result.model_dump(mode="json") if isinstance(result, Record) else result


def _merged(there: Mapping[str, Any], values: Any) -> Any:
    """Objects are merged, anything else is replaced."""
    if not isinstance(values, Mapping):
        return values
    merged = dict(there)
    for name, value in values.items():
        inner = merged.get(name)
        merged[name] = _merged(inner if isinstance(inner, Mapping) else {}, value)
    return merged


def _unknown(what: str, name: str, known: tuple[str, ...]) -> str:
    hint = nearest(name, known) or f" There are {', '.join(known) or 'none'}."
    return f"this world has no {what} {name!r}.{hint}"
