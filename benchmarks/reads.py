"""The cost of an operator's reads: a file of many rows, and the CPU time of each read that a page makes.

The file is made by bulk inserts in this process: no task runs. A read is timed at its first view, with a connection
that has seen nothing yet, and then five times more; the file itself is in the machine's memory, as that of a busy
queue is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from liteq import LiteQ
from liteq.message import new_id
from liteq.monitor import documents
from liteq.monitor.overview import overview
from liteq.monitor.runs.workflow_list import workflows
from liteq.monitor.runs.workflows import workflow
from liteq.monitor.tasks.limits import limit, limits
from liteq.monitor.tasks.queues import queue
from liteq.monitor.tasks.tasks import task, tasks
from liteq.monitor.tasks.why import explain
from liteq.serialization import encode_error

HOUR_MS = 3_600_000
DAYS_MS = 30 * 24 * HOUR_MS  # the file's age
CHUNK = 20_000  # rows of one transaction
TASKS = 200
QUEUES = ("celery", "mail", "media", "reports", "zones")
MEMBERS = 10_000  # of a workflow, unless the file has less than twice as many rows
INSERT = """
INSERT INTO liteq_messages (id, task, queue, priority, state, payload, due_ms, created_ms, flags, position, root_id,
    parent_id, group_id, awaits, worker, deadline_ms, retries, started_ms, finished_ms, error, cause,
    held_by)
VALUES (:id, :task, :queue, :priority, :state, :payload, :due_ms, :created_ms, 0, :position, :root_id, :parent_id,
    :group_id, :awaits, :worker, :deadline_ms, :retries, :started_ms, :finished_ms, :error, :cause,
    :held_by)
"""
# Those that are held, each in the line of a customer.
LINES = """
INSERT INTO liteq_lines (key, queue, priority, waits, turn)
SELECT DISTINCT held_by, queue, priority, held_by, 0 FROM liteq_messages WHERE state = 'held'
"""
NOTHING = dict.fromkeys(
    ("root_id", "parent_id", "group_id", "awaits", "worker", "deadline_ms", "started_ms", "finished_ms", "error",
     "cause", "held_by")
) | {"position": 0, "retries": 0, "priority": 0}  # fmt: skip
# In hundredths: of the states that a file of a busy queue has.
SHARES = (
    ("pending", 40), ("succeeded", 40), ("cancelled", 5), ("dead", 4), ("scheduled", 4), ("held", 4), ("blocked", 2),
    ("upstream_failed", 1),
)  # fmt: skip
MIX = [state for state, share in SHARES for _ in range(share)]
ERRORS = [
    encode_error(kind(f"no. {n}"), "Traceback\n" + "  frame\n" * 20) for n, kind in enumerate((KeyError, OSError))
]


class Read(NamedTuple):
    """One read: its name, the CPU time at first view, and the least of five after it, in ms."""

    name: str
    first_ms: float
    least_ms: float


def app_of(path: Path) -> LiteQ:
    """An app that knows the tasks of the file: their arguments are shown."""
    app = LiteQ("reads", broker=f"sqlite:///{path}")
    for n in range(TASKS):
        app.task(name=f"shop.t{n}", sensitive=["card"])(_a_task)
    return app


def _a_task(order: int, user_id: int = 0, card: str = "") -> None:
    raise NotImplementedError


def members_of(rows: int) -> int:
    """The members of the workflow in a file of `rows`: half of a small file's rows."""
    return min(MEMBERS, rows // 2)


def fill(app: LiteQ, rows: int, say: Callable[[str], object] = print) -> None:
    """Write `rows` messages, and a workflow of `members_of(rows)` among them."""
    storage = app.storage
    storage.migrate()
    written, every = 0, max(rows // 10, CHUNK)
    source = _rows(rows, app.clock.now_ms())
    while chunk := list(islice(source, CHUNK)):
        with storage.driver.write() as tx:
            tx.executemany(INSERT, chunk)
        storage.driver.fold_log()
        written += len(chunk)
        if written % every < CHUNK:
            say(f"{written:,} rows")
    with storage.driver.write() as tx:
        tx.execute(LINES)
    storage.limits.set("user:*", concurrent=1)


def _rows(rows: int, now_ms: int) -> Iterator[dict[str, Any]]:
    members = members_of(rows)
    yield from _workflow(members, now_ms)
    for n in range(rows - members):
        state = MIX[n * 37 % 100]
        created = now_ms - DAYS_MS + n * DAYS_MS // rows
        # Ids as clients make them, in the order of sending.
        id_ = f"{created:012x}"
        row = {
            **NOTHING, "id": f"{id_[:8]}-{id_[8:]}-7{n & 0xFFF:03x}-8000-{n:012x}",
            "task": "shop.rare" if n % 100_003 == 7 else f"shop.t{n * 7919 % TASKS}",
            "queue": QUEUES[n % 7 % 5], "priority": n % 3, "state": state, "due_ms": created, "created_ms": created,
            "payload": orjson.dumps([[n], {"user_id": n % 5_000, "card": "4111"}]),
        }  # fmt: skip
        yield row | _of_state(state, n, created, now_ms)


def _of_state(state: str, n: int, created: int, now_ms: int) -> dict[str, Any]:
    match state:
        case "succeeded":
            return {"started_ms": created + 200, "finished_ms": created + 200 + n % 10_000}
        case "cancelled" | "upstream_failed":
            return {"finished_ms": created + 500, "error": ERRORS[0]}
        case "dead":
            return {
                "started_ms": created + 200, "finished_ms": created + 900, "retries": 3, "error": ERRORS[n % 2],
                "cause": f"c{n % 50}",
            }  # fmt: skip
        case "scheduled":
            return {"due_ms": now_ms + n % DAYS_MS}
        case "blocked":
            return {"awaits": f"w{n}"}
        case "held":
            return {"held_by": f"user:{n % 5_000}"}
    return {}


def _workflow(members: int, now_ms: int) -> Iterator[dict[str, Any]]:
    """A task that sent a group with a callback, in all `members` rows; a few of the group run."""
    created = now_ms - DAYS_MS
    root = new_id()
    payload = orjson.dumps([[1], {}])
    base = NOTHING | {"queue": "celery", "payload": payload, "due_ms": created, "created_ms": created}
    yield {**base, "id": root, "task": "shop.t1", "state": "succeeded", "finished_ms": created + 1}
    for n in range(members - 2):
        runs = n < 16
        yield {
            **base, "id": f"{root}-{n}", "task": "shop.t2", "root_id": root, "parent_id": root, "group_id": f"{root}-g",
            "position": n, "state": "leased" if runs else "succeeded", "finished_ms": None if runs else created + n,
            "started_ms": now_ms - n, "worker": 1 if runs else None, "deadline_ms": now_ms + HOUR_MS if runs else None,
        }  # fmt: skip
    yield {
        **base, "id": f"{root}-end", "task": "shop.t3", "root_id": root, "parent_id": root, "awaits": f"{root}-g",
        "state": "blocked",
    }  # fmt: skip


# -- the reads -------------------------------------------------------------------------------------------------------


def measure(app: LiteQ, rows: int) -> list[Read]:
    """Time each read of the pages, in a file of `rows`."""
    return [Read(name, *_timed(app, read)) for name, read in _reads(app, members_of(rows))]


def _timed(app: LiteQ, read: Callable[[], object]) -> tuple[float, float]:
    app.storage.close()
    times = []
    for _ in range(6):
        start = time.process_time()
        read()
        times.append((time.process_time() - start) * 1000)
    return times[0], min(times[1:])


def _reads(app: LiteQ, members: int) -> Iterator[tuple[str, Callable[[], object]]]:
    views = app.storage.views
    root = views.canvases(limit=1, rows=1)[0].root
    pending = views.page("pending of", limit=1, given={"queue": "mail"})[0]
    last = _deep(app, "mail")
    cause = views.page("dead", limit=1)[0].cause
    yield "counts and heads of the queues", views.overview
    yield "overview", lambda: overview(app)
    yield "status route", lambda: documents.status(app)
    yield "one queue, its head by task", lambda: queue(app, "mail")
    for state in ("", "pending", "leased", "scheduled", "held", "blocked", "dead", "succeeded", "cancelled"):
        q = f"state:{state}" if state else ""
        yield f"list {state or 'of all'}", lambda q=q: tasks(app, q)
    yield "list of a queue, in its middle", lambda: views.page("pending of", after=last, given={"queue": "mail"})
    for q in (
        "state:dead task:shop.t7", "state:dead task:shop.rare", "task:shop.rare", "state:dead error:KeyError",
        "state:succeeded run:>9s", "state:pending queue:mail task:*9", "state:succeeded since:2h", f"cause:{cause}",
    ):  # fmt: skip
        yield f"search {q}", lambda q=q: tasks(app, q)
    for q in ("state:pending args.0:77", "state:dead kwargs.user_id:42", "state:succeeded nowhere"):
        yield f"search {q}", lambda q=q: tasks(app, q)
    yield "one task", lambda: task(app, pending.id)
    yield "ids that begin with", lambda: tasks(app, pending.id[:13])
    yield "limits, and what they hold", lambda: limits(app)
    yield "one limit", lambda: limit(app, "user:*")
    held = views.page("held", limit=1)[0].id
    yield "why, held by a limit", lambda: explain(app, held)
    yield "why, far behind", lambda: explain(app, _behind(app, last))
    yield "newest workflows", lambda: workflows(app)
    yield f"the rows of a workflow of {members:,}", lambda: views.lineage(root)
    yield f"a workflow of {members:,} with its graph", lambda: workflow(app, root)


def _deep(app: LiteQ, name: str) -> tuple[Any, ...]:
    """A mark in the middle of a queue."""
    middle_ms = app.clock.now_ms() - DAYS_MS // 2
    return (1, middle_ms, 0)


def _behind(app: LiteQ, mark: tuple[Any, ...]) -> str:
    return app.storage.views.page("pending of", after=mark, limit=1, given={"queue": "mail"})[0].id


def table(rows: int, found: list[Read]) -> str:
    """The figures as a table in Markdown."""
    head = [f"| read, of a file of {rows:,} rows | first view, ms CPU | least of five, ms CPU |", "| --- | --- | --- |"]
    return "\n".join([*head, *(f"| {one.name} | {one.first_ms:.1f} | {one.least_ms:.1f} |" for one in found)])
