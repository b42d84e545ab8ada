"""The world of the database: what statements may do, and how one that never ends does."""

from __future__ import annotations

import asyncio
import time

import pytest

from agentenv.messages import ToolCall
from agentenv.tools import ToolSet
from agentenv_tools.worlds import SqlWorld
from agentenv_tools.worlds.database import MAX_PAGES, MAX_ROWS
from tests.tools.worlds import called, made, refusal

ENDLESS = "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT count(*) FROM r"
NUMBERS = "WITH RECURSIVE r(x) AS (SELECT 10000 UNION ALL SELECT x + 1 FROM r WHERE x < 40000)"


async def test_a_query_gives_columns_and_rows() -> None:
    world = made(SqlWorld)
    product = world.shop.products[0]
    found = await called(world, "run_sql", statement=f"SELECT id, name FROM products WHERE id = {product.id}")
    assert found == {"columns": ["id", "name"], "rows": [[product.id, product.name]], "note": ""}


async def test_rows_are_changed_and_counted() -> None:
    world = made(SqlWorld)
    product = world.shop.products[0]
    before = dict(world.facts())
    said = await called(world, "run_sql", statement=f"UPDATE products SET stock = 61 WHERE id = {product.id}")
    assert said == "1 rows were changed."
    changed = [product.id, product.name, product.category, product.price, 61]
    assert world.facts() == {**before, f"products {product.id}": changed}


async def test_a_world_that_nobody_has_asked_has_the_facts_of_its_database() -> None:
    asked, quiet = made(SqlWorld), made(SqlWorld)
    await called(asked, "run_sql", statement="SELECT 1")
    assert asked.facts() == quiet.facts()
    assert len(asked.facts()) == 12 + 16 + 40


async def test_of_a_long_result_the_first_rows_are_shown_and_that_is_said() -> None:
    found = await called(made(SqlWorld), "run_sql", statement="SELECT a.id FROM orders a, orders b")
    assert len(found["rows"]) == MAX_ROWS
    assert found["note"] == f"There are more rows; the first {MAX_ROWS} are shown."


@pytest.mark.parametrize(
    "statement",
    [
        ENDLESS,
        "SELECT count(*) FROM orders a, orders b, orders c, orders d, orders e",
        "INSERT INTO customers " + ENDLESS.replace("count(*)", "x + 1000000, 'a', 'b', 'gold'"),
        f"UPDATE products SET stock = ({ENDLESS})",
        ENDLESS.replace("count(*)", "json_group_array(x)"),
        ENDLESS.replace("count(*)", "group_concat('" + "x" * 5_000 + "' || x)"),
        ENDLESS.replace("count(*)", "x || '" + "x" * 9_000 + "' AS b") + " ORDER BY b LIMIT 1",
    ],
)
async def test_a_statement_that_never_ends_is_stopped_and_has_changed_nothing(statement: str) -> None:
    started = time.perf_counter()
    said = await refusal(made(SqlWorld), "run_sql", statement=statement)
    assert "the statement was stopped: it takes more than 1,000,000 steps" in said or "too big" in said
    assert time.perf_counter() - started < 6


async def test_the_event_loop_goes_on_while_a_statement_runs() -> None:
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0.001)

    heart = asyncio.ensure_future(beat())
    await refusal(made(SqlWorld), "run_sql", statement=ENDLESS)
    heart.cancel()
    assert beats > 3


@pytest.mark.parametrize(
    "statement",
    [
        "ATTACH DATABASE 'other.db' AS other",
        "DETACH DATABASE main",
        "PRAGMA foreign_keys = OFF",
        "PRAGMA writable_schema = ON",
        "SELECT * FROM pragma_table_info('orders')",
        "SELECT load_extension('evil')",
        "VACUUM INTO 'copy.db'",
        "CREATE TABLE extra (id)",
        "CREATE TEMP TABLE extra (id)",
        "CREATE TRIGGER t AFTER DELETE ON orders BEGIN SELECT 1; END",
        "CREATE VIEW v AS SELECT 1",
        "DROP TABLE orders",
        "ALTER TABLE orders ADD COLUMN extra",
        "BEGIN",
        "COMMIT",
        "SAVEPOINT s",
        "REINDEX",
        "ANALYZE",
        "SELECT zeroblob(1000000000)",
        "SELECT printf('%1000000000d', 1)",
        "SELECT randomblob(9)",
        "SELECT RANDOM()",
        "DELETE FROM sqlite_master",
    ],
)
async def test_what_reaches_beyond_the_rows_is_refused(statement: str) -> None:
    said = await refusal(made(SqlWorld), "run_sql", statement=statement)
    assert "authoriz" in said or "may not be modified" in said


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("SELECT 1; DELETE FROM orders", "one statement at a time"),
        ("SELEKT 1", "syntax error"),
        ("SELECT * FROM nowhere", "no such table"),
        ("SELECT '", "unrecognized token"),
        ("SELECT '\0'", "null character"),
        ("SELECT '" + "x" * 10_000 + "'", "query string is too large"),
        ("UPDATE products SET stock = -1", "CHECK constraint failed"),
        ("INSERT INTO orders VALUES (1, 1, 1, 1, 'x', 'open')", "FOREIGN KEY constraint failed"),
        ("DELETE FROM customers", "FOREIGN KEY constraint failed"),
        ("UPDATE products SET price = 'free'", "cannot store TEXT value in INTEGER column"),
        ("UPDATE customers SET name = x'00ff'", "cannot store BLOB value in TEXT column"),
    ],
)
async def test_a_statement_that_fails_says_why_and_changes_nothing(statement: str, says: str) -> None:
    assert says in await refusal(made(SqlWorld), "run_sql", statement=statement)


async def test_the_database_cannot_be_filled_without_end() -> None:
    world = made(SqlWorld)
    rows = f"SELECT x, '{'x' * 3_000}', 'b', 'gold' FROM r"
    said = await refusal(world, "run_sql", statement=f"INSERT INTO customers {NUMBERS} {rows}")
    assert "database or disk is full" in said
    assert MAX_PAGES * 4096 == 524_288


async def test_values_that_are_no_json_are_shown_and_compared_all_the_same() -> None:
    world = made(SqlWorld)
    found = await called(world, "run_sql", statement="SELECT x'00ff', CAST(x'ff' AS TEXT), 9e999, NULL")
    assert found["rows"] == [["x'00ff'", "\ufffd", None, None]]
    await called(world, "run_sql", statement="INSERT INTO customers VALUES (7, 'a', CAST(x'ff' AS TEXT), 'gold')")
    assert world.facts()["customers 7"] == [7, "a", "\ufffd", "gold"]


async def test_statements_of_one_turn_are_carried_out_in_their_order() -> None:
    world = made(SqlWorld)
    id = world.shop.products[0].id
    statements = [f"UPDATE products SET stock = stock * 2 + {bit} WHERE id = {id}" for bit in (1, 0, 1, 1)]
    start = f"UPDATE products SET stock = 0 WHERE id = {id}"
    calls = [ToolCall(str(n), "run_sql", f'{{"statement": "{text}"}}') for n, text in enumerate([start, *statements])]
    await ToolSet(world.tools()).call_all(calls)
    stock = world.facts()[f"products {id}"]
    assert isinstance(stock, list)
    assert stock[-1] == 0b1011


async def test_an_empty_table_can_be_brought_back() -> None:
    world = made(SqlWorld)
    full = world.snapshot()
    await called(world, "run_sql", statement="DELETE FROM orders")
    empty = world.snapshot()
    other = made(SqlWorld, 1)
    other.restore(empty)
    assert other.facts() == world.facts()
    assert not any(name.startswith("orders") for name in other.facts())
    world.restore(full)
    assert world.facts() == made(SqlWorld).facts()


async def test_a_world_can_be_closed_while_a_statement_runs() -> None:
    world = made(SqlWorld)
    running = asyncio.ensure_future(refusal(world, "run_sql", statement=ENDLESS))
    await asyncio.sleep(0.01)
    running.cancel()
    await world.close()
    await world.close()
    with pytest.raises(asyncio.CancelledError):
        await running
