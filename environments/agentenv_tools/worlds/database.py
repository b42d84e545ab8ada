"""An SQLite database in memory for statements nobody has looked at: one at a time, and each of them bounded."""

from __future__ import annotations

import itertools
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from agentenv_tools.worlds.drawn_shop import SCHEMA, TABLES, Shop

Value = int | float | str | bytes | None
Row = tuple[Value, ...]
Rows = dict[str, tuple[Row, ...]]
"""Everything in a database: the rows of each table, in the order of their keys."""

MAX_STEPS = 1_000_000
"""Instructions of SQLite's machine a statement may take. Counted, not timed: what is refused once is refused always."""
MAX_SECONDS = 5.0
"""A statement that takes so long is stopped even if its instructions are few."""
MAX_ROWS = 50
"""Rows of a result that are fetched."""
MAX_VALUE = 10_000
"""Bytes of a value, of a row and of a statement."""
MAX_PAGES = 128
"""Of 4 KiB each, in the whole database."""
_STEPS_A_LOOK = 1_000

_ALLOWED = frozenset(
    {
        sqlite3.SQLITE_SELECT,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_INSERT,
        sqlite3.SQLITE_UPDATE,
        sqlite3.SQLITE_DELETE,
        sqlite3.SQLITE_RECURSIVE,
    }
)
_REFUSED_FUNCTIONS = frozenset({"load_extension", "randomblob", "zeroblob", "random", "printf", "format"})
"""What reaches outside, makes much from little, or is never twice the same."""


class StatementError(Exception):
    """A statement that was not carried out; the message says why. The database is as it was before."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a statement gave.

    Attributes:
        columns, rows: of a query. more: whether there are rows that were not fetched.
        changed: rows that were inserted, updated or deleted.
    """

    columns: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    more: bool = False
    changed: int = 0


class Database:
    """A database with the shop's tables. Statements may come from any thread, one at a time."""

    def __init__(self, shop: Shop) -> None:
        self._connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._connection.text_factory = _text
        self._busy = threading.Lock()
        self._closed = False
        self._steps_left = 0
        self._until = 0.0
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._connection.execute(f"PRAGMA max_page_count = {MAX_PAGES}")
        for statement in SCHEMA:
            self._connection.execute(statement)
        self.replace(rows_of(shop))
        self._wall_off()

    def _wall_off(self) -> None:
        """From here on statements are the policy's."""
        limits = {
            sqlite3.SQLITE_LIMIT_LENGTH: MAX_VALUE,
            sqlite3.SQLITE_LIMIT_SQL_LENGTH: MAX_VALUE,
            sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 100,
            sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
            sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 20,
            sqlite3.SQLITE_LIMIT_COLUMN: 100,
            sqlite3.SQLITE_LIMIT_ATTACHED: 0,
        }
        for limit, value in limits.items():
            self._connection.setlimit(limit, value)
        self._connection.set_authorizer(_authorized)
        self._connection.set_progress_handler(self._too_long, _STEPS_A_LOOK)

    def run(self, statement: str) -> Result:
        """Carries out one statement, as a transaction of its own.

        Raises:
            StatementError: it was not carried out.
        """
        with self._busy:
            try:
                return self._run(statement)
            finally:
                if self._closed:
                    self._connection.close()

    def _run(self, statement: str) -> Result:
        self._begin()
        before = self._connection.total_changes
        try:
            cursor = self._connection.execute(statement)
            columns = tuple(column[0] for column in cursor.description or ())
            rows = tuple(itertools.islice(cursor, MAX_ROWS + 1)) if columns else ()
            cursor.close()
        except sqlite3.Error as problem:
            raise StatementError(self._said(problem)) from None
        except (sqlite3.Warning, OverflowError, ValueError, UnicodeError) as problem:
            raise StatementError(str(problem)) from None
        return Result(columns, rows[:MAX_ROWS], len(rows) > MAX_ROWS, self._connection.total_changes - before)

    def rows(self) -> Rows:
        """Everything that is in the database."""
        self._begin()
        return {table: tuple(self._connection.execute(f"SELECT * FROM {table} ORDER BY 1")) for table in TABLES}

    def replace(self, rows: Rows) -> None:
        """Puts other rows in the place of all there are."""
        self._begin()
        for table in reversed(TABLES):
            self._connection.execute(f"DELETE FROM {table}")
        for table in TABLES:
            if rows[table]:
                marks = ", ".join("?" * len(rows[table][0]))
                self._connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows[table])

    def stop(self) -> None:
        """Ends the statement that is being carried out in another thread, if there is one."""
        if not self._closed:
            self._connection.interrupt()

    def close(self) -> None:
        """Frees it. Where another thread is in it still, that thread does it. Twice is fine."""
        self.stop()
        self._closed = True
        if self._busy.acquire(blocking=False):
            self._connection.close()
            self._busy.release()

    def _begin(self) -> None:
        self._steps_left = MAX_STEPS
        self._until = time.monotonic() + MAX_SECONDS

    def _too_long(self) -> bool:
        self._steps_left -= _STEPS_A_LOOK
        return self._steps_left < 0 or time.monotonic() > self._until

    def _said(self, problem: sqlite3.Error) -> str:
        text = str(problem)
        if "interrupted" in text:
            return f"the statement was stopped: it takes more than {MAX_STEPS:,} steps, or {MAX_SECONDS:g} s"
        if "authoriz" in text or "prohibited" in text:
            return f"{text}; there are SELECT, INSERT, UPDATE and DELETE, without transactions and PRAGMA"
        return text


def _text(data: bytes) -> str:
    """Whatever bytes a statement has called a text."""
    return data.decode("utf-8", "replace")


def _authorized(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    if action == sqlite3.SQLITE_FUNCTION:
        return sqlite3.SQLITE_DENY if (second or "").lower() in _REFUSED_FUNCTIONS else sqlite3.SQLITE_OK
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY


def rows_of(shop: Shop) -> Rows:
    """What a database holds before the first statement."""
    return {"customers": shop.customers, "products": shop.products, "orders": shop.orders}


def shown(value: Value) -> int | float | str | None:
    """A value as JSON can hold it."""
    return f"x'{value.hex()}'" if isinstance(value, bytes) else value


def row_names(rows: Sequence[Row]) -> dict[str, list[int | float | str | None]]:
    """Rows of a table by their key."""
    return {str(row[0]): [shown(value) for value in row] for row in rows}
