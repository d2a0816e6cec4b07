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

from liteq.storage.driver import LOCK, SKIP_LOCKED
from liteq.storage.sending import enqueue
from liteq_postgres.batch import at_once
from liteq_postgres.migrate import migrations
from liteq_postgres.translate import NAMED, statement

ROOM = Path(__file__).resolve().parents[2] / "liteq" / "storage"
NO_VERBS = {"facades", "sqlite"}  # the parts of `Storage`, and an engine
VERB_FILES = sorted(path for path in ROOM.rglob("*.py") if path.relative_to(ROOM).parts[0] not in NO_VERBS)
VERBS = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\s")


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


STATEMENTS = statements()


@pytest.fixture(scope="module")
def postgresql(postgresql_server: str) -> Iterator[Any]:
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(host=postgresql_server, user="postgres", autocommit=True) as connection:
        connection.execute("CREATE SCHEMA portable")
        connection.execute("SET search_path TO portable")
        for number, script in migrations().items():
            connection.execute(script.encode())
            connection.execute("UPDATE liteq_meta SET value = %s WHERE key = 'version'", (number,))
        yield connection
        connection.execute("DROP SCHEMA portable CASCADE")


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_prepares(postgresql: Any, name: str) -> None:
    postgresql.execute(b"PREPARE s AS " + statement(STATEMENTS[name]).sql)
    postgresql.execute("DEALLOCATE s")


def locks(plan: dict[str, Any], *, once: bool = False) -> Iterator[bool]:
    """For each part of a plan that locks rows, whether it is run once, however often the plan asks for its rows."""
    once = once or plan.get("Subplan Name", "").startswith("CTE ")
    if plan["Node Type"] == "LockRows":
        yield once
    for part in plan.get("Plans", []):
        yield from locks(part, once=once)


CHANGE_WHAT_THEY_LOCK = [
    name
    for name, sql in STATEMENTS.items()
    if sql.lstrip().startswith(("UPDATE", "DELETE", "WITH")) and (SKIP_LOCKED in sql or LOCK in sql)
]


@pytest.mark.parametrize("name", CHANGE_WHAT_THEY_LOCK)
def test_a_statement_takes_the_rows_that_it_changes_once(postgresql: Any, name: str) -> None:
    """Taken once more for each row, "the next 100 that nobody has" are all that there are."""
    postgresql.execute(b"PREPARE s AS " + statement(STATEMENTS[name]).sql)
    ((n,),) = postgresql.execute("SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 's'")
    with postgresql.transaction():
        postgresql.execute("SET LOCAL plan_cache_mode TO force_generic_plan")
        given = f"({', '.join(['NULL'] * n)})" if n else ""
        ((plan,),) = postgresql.execute(f"EXPLAIN (FORMAT JSON) EXECUTE s {given}")
    postgresql.execute("DEALLOCATE s")
    assert set(locks(plan[0]["Plan"])) == {True}


def indexes(plan: dict[str, Any]) -> Iterator[str]:
    """The indexes that a plan reads."""
    if "Index Name" in plan:
        yield plan["Index Name"]
    for part in plan.get("Plans", []):
        yield from indexes(part)


BY_STATE = {"liteq_messages_leased", "liteq_messages_blocked", "liteq_messages_dead", "liteq_messages_finished"}
OF_A_ROW = [name for name, sql in STATEMENTS.items() if NAMED.search(sql) and "group_id" not in sql]


@pytest.mark.parametrize("name", OF_A_ROW)
def test_a_row_that_is_named_is_found_by_its_key(postgresql: Any, name: str) -> None:
    """By statistics that are old no row is leased: all that were since the last VACUUM would be read for each."""
    found = statement(STATEMENTS[name])
    postgresql.execute(b"PREPARE s AS " + found.sql)
    ((types,),) = postgresql.execute(
        "SELECT parameter_types::oid[]::bigint[] FROM pg_prepared_statements WHERE name = 's'"
    )
    postgresql.execute("DEALLOCATE s")
    texts = [found.sql, *([text] if found.at_once and (text := at_once(found.sql, tuple(types))) else [])]
    for text in texts:
        postgresql.execute(b"PREPARE s AS " + text)
        with postgresql.transaction():
            postgresql.execute("SET LOCAL plan_cache_mode TO force_generic_plan")
            given = f"({', '.join(['NULL'] * len(types))})" if types else ""
            ((plan,),) = postgresql.execute(f"EXPLAIN (FORMAT JSON) EXECUTE s {given}")
        postgresql.execute("DEALLOCATE s")
        assert not BY_STATE.intersection(indexes(plan[0]["Plan"]))


def test_a_server_takes_the_savepoints_of_a_canvas(postgresql: Any) -> None:
    with postgresql.transaction():
        for statement in (enqueue.TRY, enqueue.UNDO, enqueue.TRY, enqueue.KEEP):
            postgresql.execute(statement)


def of_a_file(tmp_path: Path) -> tuple[dict[str, list[str]], dict[str, str], set[str]]:
    """The columns of a file's tables, the statements of its indexes, and its triggers, by name."""
    from liteq.storage.storage import open_storage

    storage = open_storage(f"sqlite:///{tmp_path}/q.db")
    storage.migrate()
    with storage.driver.read() as tx:
        made = tx.execute("SELECT type, name, sql FROM sqlite_master WHERE name LIKE 'liteq%' AND sql IS NOT NULL")
        tables = {
            name: sorted(column for (column,) in tx.execute(f"SELECT name FROM pragma_table_info('{name}')"))
            for kind, name, _ in made
            if kind == "table"
        }
    storage.close()
    return (
        tables,
        {name: alike(sql) for kind, name, sql in made if kind == "index"},
        {name for kind, name, _ in made if kind == "trigger"},
    )


def alike(index: str) -> str:
    """The statement of an index as both engines have it: in a file its order ends with the row's number by itself."""
    return re.sub(r"(?<!\()\bseq\)", ")", re.sub(r"\s+", " ", index)).replace(", )", ")").strip()


COLUMNS = """
SELECT table_name, array_agg(CAST(column_name AS text) ORDER BY column_name COLLATE "C") FROM information_schema.columns
 WHERE table_schema = 'portable' GROUP BY table_name
"""
INDEX = re.compile(r"CREATE (?:UNIQUE )?INDEX (\w+)[^;]*")
OF_THE_DATABASE = """
SELECT table_name, column_name FROM information_schema.columns
 WHERE table_schema = 'portable' AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'
"""
TRIGGERS = "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"


def test_both_engines_have_the_same_tables_columns_indexes_and_triggers(postgresql: Any, tmp_path: Path) -> None:
    tables, indexes, triggers = of_a_file(tmp_path)
    assert dict(postgresql.execute(COLUMNS).fetchall()) == tables
    scripts = "\n".join(migrations().values())
    assert {found[1]: alike(found[0]) for found in INDEX.finditer(scripts)} == indexes
    assert {name for (name,) in postgresql.execute(TRIGGERS)} == triggers


def test_texts_compare_by_their_bytes_whatever_the_databases_collation(postgresql: Any) -> None:
    assert postgresql.execute(OF_THE_DATABASE).fetchall() == []


def test_both_engines_count_their_migrations_alike(postgresql: Any, tmp_path: Path) -> None:
    from liteq.storage.storage import open_storage

    storage = open_storage(f"sqlite:///{tmp_path}/q.db")
    version = storage.migrate()
    with storage.driver.read() as tx:
        theirs = dict(tx.execute("SELECT key, value FROM liteq_meta"))
    storage.close()
    assert max(migrations()) == version
    ours = dict(postgresql.execute("SELECT key, value FROM liteq_meta").fetchall())
    assert ours | {"version": version} == {key: theirs[key] for key in theirs.keys() - {"token", "token_until"}}


# -- that none is missed: no verb makes SQL while it runs -------------------------------------------------------------


def test_the_statements_are_found() -> None:
    assert len(STATEMENTS) > 100
    assert {
        "claiming.claim.NEXT",
        "settling.outcomes.ACK",
        "sending.enqueue.INSERT",
        "reading.browse.PAGES[('line', 'all', 0)]",
    } <= STATEMENTS.keys()
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
