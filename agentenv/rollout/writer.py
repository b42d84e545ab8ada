"""The journal's one writer: a thread that commits everything that queued up while it was busy, in one transaction."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentenv.env import Observation
from agentenv.episode import Episode, Turn
from agentenv.registry import EnvSpec
from agentenv.rollout import codec
from agentenv.rollout.packing import pack_tokens
from agentenv.rollout.schema import JournalError, connect
from agentenv.tools import ToolSpec

_LOG = logging.getLogger("agentenv.rollout")
_BATCH = 256
_REMEMBERED = 4096

_INSERT_ATTEMPT = """
INSERT INTO attempts (id, environment, iteration, group_name, task_id, sibling, attempt, status, stop_reason, reward,
    seed, policy, started_at, seconds, task, spec, final_messages, final_tools, failure, notes)
VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING
"""
_INSERT_TURN = "INSERT INTO turns VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"


class DuplicateEpisodeError(JournalError):
    """The journal already holds a finished attempt at this episode, or this very attempt."""


@dataclass(frozen=True, slots=True)
class _Entry:
    episode: Episode
    spec: EnvSpec | None
    notes: tuple[str, ...]
    loop: asyncio.AbstractEventLoop
    written: asyncio.Future[None]


class Writer:
    """Appends attempts to a journal file from a thread of its own, started by the first one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, episode: Episode, spec: EnvSpec | None, notes: tuple[str, ...]) -> asyncio.Future[None]:
        """Queues an attempt, which then is written even if nobody waits for the future."""
        loop = asyncio.get_running_loop()
        entry = _Entry(episode, spec, notes, loop, loop.create_future())
        self._queue.put(entry)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="agentenv-journal", daemon=True)
            self._thread.start()
        return entry.written

    def close(self) -> None:
        """Writes what is queued and ends the thread."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        try:
            rows: _Rows | JournalError = _Rows(connect(self._path, create=False))
        except JournalError as error:
            rows = error
        closing = False
        while not closing:
            entries = self._next_batch()
            closing = entries[-1] is None
            batch = [entry for entry in entries if entry is not None]
            if batch:
                _answer(batch, _write(rows, batch))
        if isinstance(rows, _Rows):
            rows.connection.close()

    def _next_batch(self) -> list[_Entry | None]:
        batch = [self._queue.get()]
        while batch[-1] is not None and len(batch) < _BATCH:
            try:
                batch.append(self._queue.get_nowait())
            except queue.Empty:
                break
        return batch


def _write(rows: _Rows | JournalError, batch: Sequence[_Entry]) -> list[Exception | None]:
    """One transaction for the whole batch; says for each entry what was wrong with it, if anything."""
    if isinstance(rows, JournalError):
        return [rows] * len(batch)
    try:
        rows.connection.execute("BEGIN IMMEDIATE")
        problems: list[Exception | None] = [rows.insert(entry) for entry in batch]
        rows.connection.execute("COMMIT")
    except Exception as error:
        rows.roll_back()
        problem = JournalError(f"the journal cannot be written: {type(error).__name__}: {error}")
        problem.__cause__ = error
        return [problem] * len(batch)
    return problems


def _answer(batch: Sequence[_Entry], problems: Sequence[Exception | None]) -> None:
    answers: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[None], Exception | None]]] = {}
    for entry, problem in zip(batch, problems, strict=True):
        answers.setdefault(entry.loop, []).append((entry.written, problem))
    for loop, settled in answers.items():
        try:
            loop.call_soon_threadsafe(_settle, settled)
        except RuntimeError:  # the loop is closed, so nobody waits any more; the record is written all the same
            _LOG.debug("nobody waited for %d journal records", len(settled))


def _settle(settled: Sequence[tuple[asyncio.Future[None], Exception | None]]) -> None:
    for written, problem in settled:
        if written.done():
            continue
        if problem is None:
            written.set_result(None)
        else:
            written.set_exception(problem)


class _Rows:
    """Turns attempts into rows. Bodies that many of them share are looked up or inserted once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._numbers: dict[bytes, int] = {}
        self._same: dict[tuple[int, ...], tuple[object, int]] = {}

    def insert(self, entry: _Entry) -> DuplicateEpisodeError | None:
        episode, key = entry.episode, entry.episode.key
        spec = entry.spec
        cursor = self.connection.execute(
            _INSERT_ATTEMPT,
            (
                episode.id,
                _text(key.environment),
                key.iteration,
                _text(key.group),
                _text(key.task_id),
                key.sibling,
                episode.attempt,
                episode.status.value,
                episode.stop_reason.value,
                episode.reward,
                episode.seed,
                _text(episode.policy),
                episode.started_at,
                episode.seconds,
                self._number((id(episode.task),), episode.task, codec.task_to_wire),
                None if spec is None else self._number((id(spec),), spec, lambda spec: spec.model_dump(mode="json")),
                _messages(episode.final_observation),
                self._tools(episode.final_observation.tools),
                None if episode.failure is None else codec.to_json(codec.failure_to_wire(episode.failure)),
                codec.to_json(entry.notes) if entry.notes else None,
            ),
        )
        if cursor.rowcount != 1:
            return DuplicateEpisodeError(
                f"the journal already holds a finished attempt at {key}, or attempt {episode.id}"
            )
        number = cursor.lastrowid
        before: tuple[int, ...] = ()
        for turn in episode.turns:
            tokens = turn.action.tokens
            packed = (None,) * 5 if tokens is None else pack_tokens(tokens, before)
            self.connection.execute(_INSERT_TURN, (number, *self._turn(turn), *packed))
            before = () if tokens is None else tokens.prompt_ids + tokens.sampled_ids
        return None

    def roll_back(self) -> None:
        self._numbers.clear()
        self._same.clear()
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def _turn(self, turn: Turn) -> tuple[object, ...]:
        return (
            turn.index,
            _messages(turn.observation),
            self._tools(turn.observation.tools),
            codec.to_json(turn.action.message.to_wire()),
            _text(turn.finish_reason),
            turn.usage.prompt_tokens,
            turn.usage.completion_tokens,
            None if turn.reward is None else codec.to_json(codec.reward_to_wire(turn.reward)),
            turn.terminated,
            turn.truncated,
            codec.to_json(turn.info) if turn.info else "{}",
            None if turn.state_key is None else _text(turn.state_key),
            turn.model_seconds,
            turn.environment_seconds,
            turn.model_attempts,
        )

    def _tools(self, tools: tuple[ToolSpec, ...]) -> int:
        return self._number(tuple(map(id, tools)), tools, lambda tools: [tool.to_wire() for tool in tools])

    def _number(self, identity: tuple[int, ...], value: Any, to_wire: Callable[[Any], Any]) -> int:
        """The row of a shared body. The very same object is not even encoded a second time."""
        known = self._same.get(identity)
        if known is not None:
            return known[1]
        body = codec.to_json(to_wire(value))
        digest = hashlib.blake2b(body.encode(), digest_size=16).digest()
        number = self._numbers.get(digest) or self._insert_shared(digest, body)
        if len(self._same) >= _REMEMBERED:
            self._same.clear()
        if len(self._numbers) >= _REMEMBERED:
            self._numbers.clear()
        self._numbers[digest] = number
        self._same[identity] = (value, number)  # holding the value keeps its identity from being given to another
        return number

    def _insert_shared(self, digest: bytes, body: str) -> int:
        self.connection.execute("INSERT OR IGNORE INTO shared (digest, body) VALUES (?, ?)", (digest, body))
        row = self.connection.execute("SELECT number FROM shared WHERE digest = ?", (digest,)).fetchone()
        number: int = row[0]
        return number


def _messages(observation: Observation) -> str:
    return codec.to_json([message.to_wire() for message in observation.messages]) if observation.messages else "[]"


def _text(value: str) -> str:
    """Text a database takes: lone surrogates, which no encoding has, are written as escapes."""
    return value.encode("utf-8", "backslashreplace").decode()
