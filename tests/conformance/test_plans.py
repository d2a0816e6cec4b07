"""The statements that every task goes through build no temporary b-tree.

Each costs a page cache that is given back to the system and faulted in again: 80 page faults a task where a partial
index had an IN list, and where an UPDATE returned its rows.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from itertools import count

import pytest

from liteq.storage.canvases import continuation
from liteq.storage.claiming import admit, claim
from liteq.storage.kept import streams
from liteq.storage.limits import keys, lines, places
from liteq.storage.runs import executing, showing
from liteq.storage.sending import enqueue, sends
from liteq.storage.settling import outcomes, terms
from liteq.storage.steps import activation, asking, birth, rows, suspend, wake
from liteq.storage.storage import Storage

HOT = {
    "enqueue": [enqueue.INSERT],
    "claim": [claim.NEXT, claim.TAKE, claim.NEXT_DUE, claim.ANY_PENDING, claim.DUE, claim.PROMOTE, claim.DUE_LATER],
    "settle": [
        outcomes.ACK, outcomes.ACK_AND_VANISH, outcomes.RETRY, outcomes.DEAD, outcomes.CANCEL, outcomes.RELEASE,
        outcomes.HANDED_BACK, outcomes.LEFT, outcomes.REJECTED, outcomes.CRASHED, terms.BECOME_ALIAS,
    ],
    "limits": [
        admit.PENDING, admit.LOOK, admit.QUEUE, admit.HOLD, places.COUNT, places.TAKE, places.FREE, keys.STATE,
        keys.SPEND, lines.ENTER, lines.WAITING, lines.FAIR_ONES, lines.HEADS, lines.HEAD, lines.SERVE, lines.MOVE,
        lines.WAKE, lines.CLOSE, lines.DUE,
    ],
    "continuation": [
        continuation.AWAITING, continuation.UNBLOCK, continuation.FAIL, continuation.SUCCEED_ALIAS,
        continuation.COUNT_DOWN, continuation.COUNTED_DOWN, continuation.CLOSE_GROUP,
    ],
    "a step": [
        rows.CHECKPOINT, rows.CHECKPOINT_FIRST, rows.READ, rows.WRITE, rows.WRITE_NEW, rows.WRITE_BODY,
        executing.HELD_BY, showing.SET, showing.INBOX,
    ],
    "a stream": [streams.HELD, streams.MARK, streams.EMIT, streams.LAST, streams.LAST_ATTEMPT, streams.NEXT_NAME],
    "a part of many": [sends.PLACE, sends.BEGIN, sends.LOCKED, sends.ADVANCE],
    "a run": [
        birth.ADD, activation.LOOK, activation.BEGIN, activation.BEGUN, suspend.STATE, suspend.NEXT_DUE, suspend.LET_GO,
        suspend.SLEEP, suspend.NAMES_IN_INBOX, suspend.IN_INBOX,
        wake.WAKE, wake.WAKE_BY_CHILD, wake.WAITS_FOR_CHILD, wake.CHILD,
        wake.COUNT_END, wake.END, wake.NEXT_OF_SLOT, wake.GIVE_SLOT, asking.ASK,
    ],
}  # fmt: skip


def operations(storage: Storage, sql: str) -> list[str]:
    """The operations of a statement, without those of triggers, whose programs stand behind its own.

    The only trigger of a hot statement that needs a b-tree, `liteq_runs_leave`, asks first whether the row is a run.
    """
    names = re.findall(r":(\w+)", sql)
    params = dict.fromkeys(names) if names else (None,) * sql.count("?")
    with storage.driver.read() as tx:
        found = [(row[0], row[1]) for row in tx.execute(f"EXPLAIN {sql}", params)]
    begins = [n for n, (address, _) in enumerate(found) if address == 0]
    return [operation for _, operation in found[: begins[1] if len(begins) > 1 else None]]


@pytest.mark.parametrize("verb", HOT)
def test_a_hot_statement_builds_no_temporary_b_tree(storage: Storage, verb: str) -> None:
    guilty = [sql for sql in HOT[verb] if "OpenEphemeral" in operations(storage, sql)]
    assert guilty == []


def test_the_look_finds_one_where_there_is_one(storage: Storage) -> None:
    some = "SELECT seq FROM liteq_messages LIMIT 1"
    sql = f"UPDATE liteq_messages SET state = 'pending' WHERE seq IN ({some}) RETURNING seq"
    assert "OpenEphemeral" in operations(storage, sql)


# -- reading: nothing that an operator asks looks at more than it may -------------------------------------------------

READERS = [
    "statistics.attempts", "operating.audit", "reading.backlog", "reading.browse", "statistics.causes",
    "reading.holding", "reading.inspect", "reading.lineage", "operating.marks", "operating.operations",
    "reading.overview", "claiming.pauses", "reading.position", "statistics.samples", "sending.sends",
    "statistics.stats", "kept.streams", "claiming.workers", "runs.backlog", "runs.listing", "runs.showing",
    "claiming.admit", "limits.keys", "limits.lines", "limits.looking", "limits.places",
]  # fmt: skip
# Statements that look at more than they return, with the bound that they have all the same.
BOUNDED_OTHERWISE = {
    "reading.inspect.SENT": "the rows of one canvas",
    "limits.places.ANY_TAKEN": "one row of each table",
    "limits.places.WAITED_FOR": "the places of one message, and those that wait for their keys",
    "reading.inspect.FIND_FINISHED": "512 ids",
    "reading.inspect.FIND_ENDED": "one id",
    "reading.inspect.MEMBERS": "the members of one group, which are what is asked for",
    "reading.lineage.GROUPS_OF": "the groups in one group",
    "reading.backlog.DEAD": "1,000 dead letters",
    "runs.listing.LISTS": "a filter by status and time goes with a deadline (docs/explanation/performance.md)",
    "runs.listing.UNFINISHED_RUNS": "a deployment's check, not a page",
    "runs.listing.ALL_APPROVALS": "the open approvals",
    "runs.listing.APPROVALS_OF": "the open approvals",
    "runs.listing.GENS": "the steps of one run",
    "runs.showing.INBOX": "the events of one run",
    "runs.backlog.WAITING": "1,000 open waits of each kind",
    "runs.backlog.APPROVALS": "the open approvals",
    "statistics.causes.COUNT": "1,000 causes",
    "statistics.causes.NEWEST": "1,000 causes",
    "statistics.causes.DEAD_OF": "what one cause killed in one millisecond",
    **{f"reading.browse.PAGES[('{columns}', 'cause', 1)]": "likewise" for columns in ("seen", "line", "whole")},
}
BIG = {"liteq_messages", "liteq_groups", "liteq_steps", "liteq_runs", "liteq_run_tags", "liteq_inbox", "liteq_bodies"}
BIG |= {"liteq_audit", "liteq_attempts", "liteq_operations", "liteq_slots", "liteq_lines", "liteq_stream"}


def reading() -> Iterator[tuple[str, str]]:
    """Every SELECT among the constants of the reading verbs."""
    for dotted in READERS:
        for name, value in vars(importlib.import_module(f"liteq.storage.{dotted}")).items():
            if not name.isupper() or name.startswith("_") or name == "COLUMNS":  # the head of several
                continue
            for key, sql in value.items() if isinstance(value, dict) else [("", value)]:
                if isinstance(sql, str) and sql.strip().startswith("SELECT"):
                    yield f"{dotted}.{name}" + (f"[{key}]" if key != "" else ""), sql


READING = dict(reading())


def test_the_reading_statements_are_found() -> None:
    assert len(READING) > 150
    assert {
        "reading.browse.PAGES[('line', 'dead', 2)]",
        "reading.overview.IN_STATE[dead]",
        "reading.lineage.OF_ROOT",
    } <= READING.keys()
    known = {*READING, *(name.partition("[")[0] for name in READING)}
    assert BOUNDED_OTHERWISE.keys() <= known, "one that is not there any more"


class Step:
    """A line of a query plan: the table it looks at, by which index, and the columns that it seeks by."""

    LOOKS = re.compile(
        r"(?P<how>SCAN|SEARCH) (?P<name>\w+)(?: USING (?:COVERING )?(?:INDEX (?P<index>\w+)|(?P<key>[A-Z ]*KEY)))?"
        r"(?: \((?P<terms>.*)\))?"
    )

    def __init__(self, text: str) -> None:
        self.text = text
        found = self.LOOKS.match(text)
        self.looks = found is not None
        self.how, self.name, self.index = (found["how"], found["name"], found["index"]) if found else ("", "", None)
        self.by_rowid = bool(found and found["key"])
        self.columns = set(re.findall(r"[a-z_]+", (found["terms"] if found else "") or ""))


def plan(storage: Storage, sql: str) -> list[tuple[int, Step]]:
    """The steps, each with the number of its parent."""
    names = re.findall(r":(\w+)", sql)
    params = dict.fromkeys(names) if names else (None,) * sql.count("?")
    with storage.driver.read() as tx:
        return [(row[1], Step(row[3])) for row in tx.execute(f"EXPLAIN QUERY PLAN {sql}", params)]


def conditions(storage: Storage) -> dict[str, set[str]]:
    """The terms of each partial index's condition."""
    with storage.driver.read() as tx:
        rows = tx.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql LIKE '% WHERE %'")
    return {name: terms(sql.partition(" WHERE ")[2]) for name, sql in rows}


def terms(where: str) -> set[str]:
    return {re.sub(r"\b\w+\.", "", " ".join(term.split())) for term in re.split(r"\bAND\b", where) if term.strip()}


def tables(sql: str) -> dict[str, tuple[str, set[str]]]:
    """The table of each name in a statement, and the terms of the WHERE that it stands before."""
    found = {}
    for match in re.finditer(
        r"\b(?:FROM|JOIN) (liteq_\w+)(?: AS (\w+))?(?P<rest>.*?)(?=\bFROM\b|\bUNION\b|$)", sql, re.DOTALL
    ):
        ends = r"\b(?:ORDER BY|GROUP BY|LIMIT)\b|\)|$"
        where = re.search(rf"\bWHERE\b(.*?)(?:{ends})", _flat(match["rest"]), re.DOTALL)
        found[match[2] or match[1]] = (match[1], terms(where[1]) if where else set())
    return found


def _flat(text: str) -> str:
    """A row value's columns without their brackets."""
    return re.sub(r"\(([\w.:, ]+)\) ([<>]) \(([\w.:, ]+)\)", r"\1 \2 \3", text)


def guilty(storage: Storage, sql: str) -> list[str]:
    """The steps of a statement's plan whose cost has no bound."""
    steps, partial, known = plan(storage, sql), conditions(storage), tables(sql)
    found = []
    for parent, step in steps:
        if step.text.startswith("USE TEMP B-TREE"):
            beside = [s for at, s in steps if at == parent and s.looks]
            if any(known.get(s.name, ("", set()))[0] in BIG and not s.by_rowid for s in beside):
                found.append(step.text)
        table, where = known.get(step.name, ("", set()))
        if table not in BIG or (step.how == "SEARCH" and (step.by_rowid or step.text.endswith("(id=?)"))):
            continue
        left = where - partial.get(step.index or "", set()) - {"TRUE"}
        sought = step.columns | ({"seq"} if "rowid" in step.columns else set())
        passed_over = {term for term in left if not set(re.findall(r"[a-z_]+(?= *[,=<>])", term)) <= sought}
        if passed_over or (step.how == "SCAN" and "LIMIT" not in sql):
            found.append(f"{step.text}: passes over rows for {sorted(passed_over)}")
    return found


@pytest.fixture
def analysed(storage: Storage) -> Storage:
    """A file with rows in every state, and SQLite's statistics of them."""
    row = """
    INSERT INTO liteq_messages (id, task, queue, priority, state, payload, due_ms, created_ms, flags, position,
        root_id, group_id, awaits, cause, worker, finished_ms)
    VALUES (:id, :task, :queue, 0, :state, '', :n, :n, 0, :n, :root, :group, :awaits, :cause, :worker, :ended)
    """
    states = ["pending"] * 60 + ["dead"] * 9 + ["succeeded"] * 20 + ["scheduled", "held", "leased", "blocked"] * 2
    states += ["cancelled", "upstream_failed"]
    numbers = count()
    with storage.driver.write() as tx:
        for state in states * 20:
            n = next(numbers)
            ended = n if state in ("dead", "succeeded", "cancelled", "upstream_failed") else None
            tx.executemany(row, [{
                "id": f"m{n}", "task": f"t{n % 7}", "queue": f"q{n % 5}", "state": state, "n": n, "ended": ended,
                "root": f"r{n % 50}" if n % 3 else None, "group": f"g{n % 40}" if n % 4 == 0 else None,
                "awaits": f"m{n - 1}" if state == "blocked" else None, "cause": "c1" if state == "dead" else None,
                "worker": 1 if state == "leased" else None,
            }])  # fmt: skip
        tx.execute("ANALYZE")
    return storage


@pytest.mark.parametrize("statistics", ["absent", "present"])
def test_a_reading_statement_looks_at_no_more_than_it_may(
    storage: Storage, request: pytest.FixtureRequest, statistics: str
) -> None:
    if statistics == "present":
        storage = request.getfixturevalue("analysed")
    found = {
        name: bad
        for name, sql in READING.items()
        if not {name, name.partition("[")[0]} & BOUNDED_OTHERWISE.keys() and (bad := guilty(storage, sql))
    }
    assert not found, "\n".join(f"{name}: {bad}" for name, bad in found.items())


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT queue, count(*) FROM liteq_messages GROUP BY queue",
        "SELECT id FROM liteq_messages WHERE task = ? LIMIT 5",
        "SELECT id FROM liteq_messages WHERE state = 'dead' AND task = ? ORDER BY finished_ms LIMIT 5",
        "SELECT id FROM liteq_messages WHERE state = 'dead' ORDER BY task LIMIT 5",
        "SELECT id FROM liteq_messages WHERE state = 'dead'",
        "SELECT id FROM liteq_messages WHERE state = 'cancelled' LIMIT 5",
        "SELECT id FROM liteq_messages AS m WHERE :k IS NULL OR m.seq < :k ORDER BY m.seq DESC LIMIT 5",
    ],
)
def test_the_look_finds_a_statement_without_a_bound(storage: Storage, sql: str) -> None:
    assert guilty(storage, sql)
