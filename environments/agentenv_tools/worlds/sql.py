"""The world `sql`: a shop's database that is read and written by statements."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import ClassVar

from agentenv.threads import THREADS
from agentenv.tools import ToolError, tool
from agentenv_tools.world import Facts, World, register_world
from agentenv_tools.worlds.database import MAX_ROWS, Database, Result, Rows, StatementError, row_names, rows_of, shown
from agentenv_tools.worlds.drawn_shop import SCHEMA, Shop, draw_shop


@dataclass(frozen=True, slots=True)
class Table:
    """What a query gave, as it is shown."""

    columns: tuple[str, ...]
    rows: tuple[tuple[int | float | str | None, ...], ...]
    note: str = ""


@register_world
class SqlWorld(World):
    """Customers, products and orders in SQLite.

    The database is opened when it is first needed; until then the world is the rows it was drawn with, in `shop`.
    """

    name: ClassVar[str] = "sql"

    def __init__(self, rng: random.Random) -> None:
        self.shop: Shop = draw_shop(rng)
        self._opened: Database | None = None
        self._turn = asyncio.Lock()

    @property
    def database(self) -> Database:
        if self._opened is None:
            self._opened = Database(self.shop)
        return self._opened

    @tool(inline=True)
    def describe_tables(self) -> str:
        """Says which tables and columns the database has."""
        return ";\n".join(SCHEMA) + ";"

    @tool
    async def run_sql(self, statement: str) -> Table | str:
        """Carries out one statement of SQLite's SQL: SELECT, INSERT, UPDATE or DELETE. Of a result 50 rows are shown.

        Args:
            statement: For example "SELECT name FROM products WHERE price > 100".
        """
        async with self._turn:  # statements of one turn are carried out in their order
            try:
                result = await self._run(statement)
            except StatementError as problem:
                raise ToolError(f"Error: {problem}.") from None
        if not result.columns:
            return f"{result.changed} rows were changed."
        note = f"There are more rows; the first {MAX_ROWS} are shown." if result.more else ""
        return Table(result.columns, tuple(tuple(map(shown, row)) for row in result.rows), note)

    async def _run(self, statement: str) -> Result:
        database = self.database
        try:
            result: Result = await THREADS.run(lambda: database.run(statement))
        except asyncio.CancelledError:
            database.stop()
            raise
        return result

    def facts(self) -> Facts:
        return {f"{table} {key}": row for table, rows in self._rows().items() for key, row in row_names(rows).items()}

    def snapshot(self) -> Rows:
        return self._rows()

    def restore(self, snapshot: Rows) -> None:
        self.database.replace(snapshot)

    def _rows(self) -> Rows:
        return rows_of(self.shop) if self._opened is None else self._opened.rows()

    async def close(self) -> None:
        database, self._opened = self._opened, None
        if database is not None:
            database.close()
