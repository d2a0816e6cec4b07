"""Every statement of a verb prepares on PostgreSQL, with the locks that its hints ask for.

SQLite takes much that no other engine does, and never shows that a statement needed a lock. So a temporary server
reads them all: the statements are found in the sources, not listed here.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from liteq.storage import enqueue
from liteq.storage.driver import GLOB, LOCK, SKIP_LOCKED

from .. import servers

ROOM = Path(__file__).resolve().parents[2] / "liteq" / "storage"
SCHEMA = Path(__file__).with_name("postgresql_schema.sql")
VERB_FILES = sorted([*ROOM.glob("*.py"), *ROOM.glob("steps/*.py"), *ROOM.glob("runs/*.py"), *ROOM.glob("limits/*.py")])
VERBS = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\s")
CLAUSES = {SKIP_LOCKED: "FOR UPDATE SKIP LOCKED", LOCK: "FOR UPDATE", f" {GLOB} ": " SIMILAR TO "}
TOKENS = re.compile(r"'[^']*'|\?(?!\d)|[:?](\w+)")


def name_of(path: Path) -> str:
    """The module's name inside the storage: "claim", "steps.rows"."""
    return ".".join(path.relative_to(ROOM).with_suffix("").parts).removesuffix(".__init__")


def statements() -> dict[str, str]:
    """Every SQL text among the module constants of the verbs, by its name; a dict's by its keys."""
    found: dict[str, str] = {}
    for path in VERB_FILES:
        dotted = name_of(path)
        module = importlib.import_module(f"liteq.storage.{dotted}")
        for name, value in vars(module).items():
            if name.isupper() and not name.startswith("_"):
                texts = value.items() if isinstance(value, dict) else [("", value)]
                for key, text in texts:
                    if is_sql(text):
                        found[f"{dotted}.{name}" if key == "" else f"{dotted}.{name}[{key}]"] = text
    return found


def is_sql(value: object) -> bool:
    return isinstance(value, str) and VERBS.match(value) is not None


def translated(sql: str) -> str:
    """`sql` with PostgreSQL's placeholders, and its hints as the clauses that they stand for."""
    for hint, clause in CLAUSES.items():
        sql = sql.replace(hint, clause)
    numbers: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        if found[0].startswith("'"):
            return found[0]
        return f"${numbers.setdefault(found[1] or f'?{len(numbers)}', len(numbers) + 1)}"

    return TOKENS.sub(number, sql)


STATEMENTS = statements()


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Any]:
    try:
        import psycopg
    except ImportError as exc:
        servers.missing(f"psycopg cannot be imported: {exc}")
    with servers.postgresql() as folder, psycopg.connect(host=folder, user="postgres", autocommit=True) as connection:
        connection.execute(SCHEMA.read_text())
        yield connection


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_prepares(postgresql: Any, name: str) -> None:
    postgresql.execute(f"PREPARE s AS {translated(STATEMENTS[name])}")
    postgresql.execute("DEALLOCATE s")


def test_a_server_takes_the_savepoints_of_a_canvas(postgresql: Any) -> None:
    with postgresql.transaction():
        for statement in (enqueue.TRY, enqueue.UNDO, enqueue.TRY, enqueue.KEEP):
            postgresql.execute(statement)


def test_the_schema_has_the_tables_and_columns_of_a_file(postgresql: Any, tmp_path: Path) -> None:
    from liteq.storage.storage import open_storage

    storage = open_storage(f"sqlite:///{tmp_path}/q.db")
    storage.migrate()
    with storage.driver.read() as tx:
        tables = [name for (name,) in tx.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {t: {name for (name,) in tx.execute(f"SELECT name FROM pragma_table_info('{t}')")} for t in tables}
    storage.close()
    theirs: dict[str, set[str]] = {}
    for table, column in postgresql.execute(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
    ):
        theirs.setdefault(table, set()).add(column)
    assert {table: found for table, found in columns.items() if table.startswith("liteq_")} == theirs


# -- that none is missed: no verb makes SQL while it runs -------------------------------------------------------------


def test_the_statements_are_found() -> None:
    assert len(STATEMENTS) > 100
    assert {"claim.NEXT", "settle.ACK", "enqueue.INSERT", "browse.PAGES[('line', 'all', 0)]"} <= STATEMENTS.keys()
    assert {"steps.rows.CHECKPOINT", "runs.listing.LISTS[tag]"} <= STATEMENTS.keys()


SAVEPOINTS = {"TRY", "UNDO", "KEEP"}  # no server prepares these; that one takes them is a test of its own


def calls_with_sql(path: Path) -> Iterator[ast.expr]:
    """The statement of each call that runs one, in a verb's file; `rows.READ` is one of another file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="tx"), attr="execute" | "executemany"), args=[sql, *_]):
                yield sql
            case ast.Call(func=ast.Attribute(value=ast.Name(id="driver"), attr="change"), args=[sql, *_]):
                yield sql
            case ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr="write" | "write_end"), args=[sql, *_]):
                yield sql  # settle gathers its writes by statement


def constants(sql: ast.expr) -> set[str]:
    """The names of the constants that `sql` may be; "?" for anything else."""
    match sql:
        case ast.Name(id=name) | ast.Attribute(attr=name) if name.isupper():
            return {name}
        case ast.Subscript(value=ast.Name(id=name)) if name.isupper():
            return {name}
        case ast.IfExp(body=body, orelse=orelse):
            return constants(body) | constants(orelse)
        case ast.Name(id="sql"):
            return set()  # a parameter or a loop's variable: it was a constant where it came from
    return {"?"}


@pytest.mark.parametrize("path", VERB_FILES, ids=name_of)
def test_a_verb_runs_constants_alone(path: Path) -> None:
    known = {name.partition("[")[0].rpartition(".")[2] for name in STATEMENTS}
    used = {name for sql in calls_with_sql(path) for name in constants(sql)}
    assert used - SAVEPOINTS <= known
