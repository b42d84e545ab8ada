"""The journal's tables, and how they come to be in a file."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from agentenv.errors import AgentenvError
from agentenv.outcome import Status

VERSION = 1
_APPLICATION = 0x61676576  # "agev"


class JournalError(AgentenvError):
    """A journal that cannot be opened, read or written."""


SCORED = ", ".join(f"'{status.value}'" for status in Status if status.scored)

_TABLES = f"""
CREATE TABLE metadata (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- Tasks, tool lists and specifications: siblings and turns share them, so each body is kept once.
CREATE TABLE shared (number INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, body TEXT NOT NULL);

CREATE TABLE attempts (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    environment TEXT NOT NULL,
    iteration INTEGER NOT NULL,
    group_name TEXT NOT NULL,
    task_id TEXT NOT NULL,
    sibling INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    status TEXT NOT NULL,
    stop_reason TEXT NOT NULL,
    reward REAL,                                  -- the episode's return, NULL when not scored
    seed INTEGER NOT NULL,
    policy TEXT NOT NULL,
    started_at REAL NOT NULL,                     -- seconds since the epoch
    seconds REAL NOT NULL,
    task INTEGER NOT NULL REFERENCES shared,
    spec INTEGER REFERENCES shared,
    final_messages TEXT NOT NULL,
    final_tools INTEGER NOT NULL REFERENCES shared,
    failure TEXT,
    notes TEXT
);
CREATE INDEX attempts_of_key ON attempts (task_id, sibling, iteration, group_name, environment);
CREATE UNIQUE INDEX one_finished_per_key ON attempts (task_id, sibling, iteration, group_name, environment)
    WHERE status IN ({SCORED});

CREATE TABLE turns (
    attempt INTEGER NOT NULL REFERENCES attempts,
    position INTEGER NOT NULL,
    messages TEXT NOT NULL,                       -- new before this turn, OpenAI's wire format
    tools INTEGER NOT NULL REFERENCES shared,
    action TEXT NOT NULL,                         -- the assistant message
    finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    reward TEXT,                                  -- [total, [name, value, weight], …], NULL when not scored
    terminated INTEGER NOT NULL,
    truncated INTEGER NOT NULL,
    info TEXT NOT NULL,
    state_key TEXT,
    model_seconds REAL NOT NULL,
    environment_seconds REAL NOT NULL,
    model_attempts INTEGER NOT NULL,
    shared_ids INTEGER,                           -- prompt ids in common with the turn before
    prompt_ids BLOB,                              -- the rest of them, see packing.py
    sampled_ids BLOB,
    logprobs BLOB,
    versions TEXT,                                -- version:start:end, …
    PRIMARY KEY (attempt, position)
);
"""


def connect(path: Path, *, create: bool) -> sqlite3.Connection:
    """A connection in autocommit mode to a journal of this version.

    Writes are durable against the death of the process as soon as they are committed: WAL pages are then with the
    operating system. `synchronous=NORMAL` leaves out the fsync per commit, so a power failure (not a SIGKILL) may take
    the last commits with it; the file stays sound.

    Raises:
        JournalError: there is no such file, it is no journal, or one of another version.
    """
    if not create and not path.is_file():
        raise JournalError(f"there is no journal at {path}")
    try:
        connection = sqlite3.connect(path, timeout=30.0, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise JournalError(f"{path} cannot be opened as a journal: {error}") from error
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    if _version(connection, path) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _version(connection, path) != VERSION:  # another process may have been faster
            for statement in _TABLES.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """The version of a journal, 0 for an empty file."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    tables: int = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application != _APPLICATION and (tables or version):
        raise JournalError(f"{path} is a database, but not a journal of agentenv")
    if version not in (0, VERSION):
        raise JournalError(
            f"{path} is a journal of version {version} and this agentenv reads version {VERSION}; "
            "use the agentenv that wrote it, or a new run folder"
        )
    return version
