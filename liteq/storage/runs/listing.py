"""Reading runs: lists, one run, its steps, what it waits for. Lists go by liteq_runs, the newest first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import orjson

from liteq.exceptions import RunNotFound
from liteq.message import Flag, StepRow
from liteq.states import UNFINISHED, State, sql_list
from liteq.storage.driver import Row, Transaction
from liteq.storage.rows.payloads import PAYLOAD_COLUMN, RESULT_COLUMN
from liteq.storage.rows.results import whole
from liteq.storage.runs.records import ENDED, STATUSES, Approval, RunRecord, RunStep, in_place
from liteq.storage.steps import rows
from liteq.storage.steps.wake import SLOT

__all__ = ["approvals", "find", "list_runs", "needed_marks", "steps", "with_waits"]

_STATUS: Final = """
CASE WHEN m.state = 'succeeded' THEN 'succeeded'
     WHEN m.state = 'dead' OR m.state = 'upstream_failed' THEN 'failed'
     WHEN m.state = 'cancelled' THEN 'cancelled'
     WHEN m.state = 'leased' THEN 'running'
     WHEN r.parked IS NOT NULL THEN r.parked
     WHEN m.state = 'pending' OR m.state = 'held' THEN 'queued'
     ELSE 'waiting' END
"""
_COLUMNS: Final = f"""
SELECT r.run, m.id, r.name, {_STATUS}, r.version, r.gen, m.queue, m.priority, {PAYLOAD_COLUMN}, m.options,
       {RESULT_COLUMN}, m.error, CASE WHEN m.state = 'scheduled' THEN m.due_ms END, m.parent_id, m.root_id,
       r.forked_from, r.step, r.asked, r.reason, r.fingerprint, r.now, m.created_ms, r.started_ms, m.finished_ms,
       r.deadline_ms, m.flags
"""
_JOINED: Final = "FROM liteq_runs AS r JOIN liteq_messages AS m ON m.seq = r.run"
FIND = f"{_COLUMNS} {_JOINED} WHERE m.id = ?"
_PAGE: Final = f"""
   AND (CAST(:status AS TEXT) IS NULL OR {_STATUS} = :status)
   AND (CAST(:since_ms AS BIGINT) IS NULL OR m.created_ms >= :since_ms)
   AND r.run < :before
 ORDER BY r.run DESC LIMIT :limit
"""
# By the index that leaves the fewest rows to look at.
LISTS: Mapping[str, str] = {
    "all": f"{_COLUMNS} {_JOINED} WHERE r.step = 0 {_PAGE}",
    "name": f"{_COLUMNS} {_JOINED} WHERE r.step = 0 AND r.name = :name {_PAGE}",
    "tag": f"""{_COLUMNS}
  FROM liteq_run_tags AS t JOIN liteq_runs AS r ON r.run = t.run JOIN liteq_messages AS m ON m.seq = r.run
 WHERE t.tag = :tag AND (CAST(:name AS TEXT) IS NULL OR r.name = :name) {_PAGE.replace("r.run", "t.run")}""",
    "parked": f"""{_COLUMNS} {_JOINED}
 WHERE r.parked IS NOT NULL AND r.parked = :status AND (CAST(:name AS TEXT) IS NULL OR r.name = :name) {_PAGE}""",
}
NUMBER = f"SELECT seq FROM liteq_messages WHERE id = ? AND flags & {Flag.RUN} <> 0"
TAGS = "SELECT tag FROM liteq_run_tags WHERE run = ? ORDER BY tag"
OPEN = """
SELECT s.kind, s.name, s.child, s.waited FROM liteq_steps AS s
 WHERE s.run = ? AND s.gen = ? AND s.ended_ms IS NULL AND (s.child IS NOT NULL OR s.due_ms IS NOT NULL)
UNION ALL
SELECT s.kind, s.name, s.child, s.waited FROM liteq_steps AS s
 WHERE s.run = ? AND s.gen = ? AND s.ended_ms IS NULL AND s.child IS NULL AND s.due_ms IS NULL
   AND coalesce(s.waited, '') <> ''
"""
AWAITS = "SELECT awaits, state FROM liteq_messages WHERE seq = ?"
GENS = "SELECT DISTINCT gen FROM liteq_steps WHERE run = ? ORDER BY gen"
CHILD_STATE = "SELECT state FROM liteq_messages WHERE id = ?"
_APPROVALS: Final = """
SELECT m.id, s.name, s.details, s.started_ms, s.due_ms
  FROM liteq_steps AS s JOIN liteq_messages AS m ON m.seq = s.run JOIN liteq_runs AS r ON r.run = s.run
 WHERE s.waited IS NOT NULL AND s.ended_ms IS NULL AND s.waited >= 'approval ' AND s.waited < 'approval!'
   AND s.gen = r.gen AND m.finished_ms IS NULL
"""
ALL_APPROVALS = f"{_APPROVALS} ORDER BY s.started_ms, m.id LIMIT ?"
APPROVALS_OF = f"{_APPROVALS} AND s.run = ? ORDER BY s.started_ms LIMIT ?"
UNFINISHED_RUNS = f"""
SELECT r.run, r.name, r.version, r.gen, r.marks FROM liteq_runs AS r JOIN liteq_messages AS m ON m.seq = r.run
 WHERE r.step = 0 AND m.state IN {sql_list(UNFINISHED)} ORDER BY r.run
"""
MARKED = "SELECT marks FROM liteq_steps WHERE run = ? AND gen = ? AND marks IS NOT NULL"
ABOVE_ALL = (1 << 63) - 1


def _record(tx: Transaction, row: Row) -> RunRecord:
    tags = tuple(tag for (tag,) in tx.execute(TAGS, (row[0],)))
    record = RunRecord._make((*row, tags, ()))
    error = None if record.error is None else whole(tx, bytes(record.error))
    if record.status == "succeeded":  # of a crash, behind which the run went on
        error = None
    return record._replace(is_step=bool(record.is_step), error=error)


def find(tx: Transaction, run_id: str) -> RunRecord | None:
    """The run of this id, with what it waits for; None where there is none."""
    for row in tx.execute(FIND, (run_id,)):
        return with_waits(tx, _record(tx, row))
    return None


def with_waits(tx: Transaction, run: RunRecord) -> RunRecord:
    """`run` with what it waits for."""
    return run._replace(waiting_for=_waits(tx, run))


def _waits(tx: Transaction, run: RunRecord) -> tuple[str, ...]:
    if run.status in ENDED:
        return ()
    awaits, state = tx.execute(AWAITS, (run.number,))[0]
    if state == State.HELD or (awaits is not None and awaits.startswith(SLOT)):
        return ("slot",)
    if run.started_ms is None:
        return ("timer",) if state == State.SCHEDULED else (f"child {awaits}",) if state == State.BLOCKED else ()
    found = list[str]()
    for kind, name, child, waited in tx.execute(OPEN, (run.number, run.gen, run.number, run.gen)):
        if child is not None:
            found.append(f"child {child}")
        elif waited is not None:
            found.append(f"memo {name}" if waited.startswith("memo ") else waited)
        elif kind != "approval":
            found.append("timer")
    return tuple(dict.fromkeys(found))


def list_runs(
    tx: Transaction, ids: Sequence[str], *, name: str | None, status: str | None, tags: Sequence[str],
    since_ms: int | None, limit: int, after: str | None,
) -> list[RunRecord]:  # fmt: skip
    """A page of runs, the newest first; see `Runs.list`. Raises ValueError for an unknown status, RunNotFound."""
    if status is not None and status not in STATUSES:
        raise ValueError(f"unknown status {status!r}; use one of {', '.join(STATUSES)}")
    if ids:
        found = [_record(tx, row) for id_ in dict.fromkeys(ids) for row in tx.execute(FIND, (id_,))]
        fits = [run for run in found if _fits(run, name, status, tags, since_ms)]
        return sorted(fits, key=lambda run: -run.number)[:limit]
    before = _number(tx, after) if after is not None else ABOVE_ALL
    params = {"name": name, "status": status, "since_ms": since_ms, "limit": limit, "tag": tags[0] if tags else None}
    sql = LISTS["tag" if tags else "parked" if status in ("paused", "stuck") else "name" if name else "all"]
    page: list[RunRecord] = []
    while len(page) < limit:
        rows_ = tx.execute(sql, _used(sql, {**params, "before": before}))
        page += [run for run in (_record(tx, row) for row in rows_) if not run.is_step and set(tags) <= set(run.tags)]
        if len(rows_) < limit:
            break
        before = rows_[-1][0]
    return page[:limit]


def _used(sql: str, params: Mapping[str, object]) -> dict[str, object]:
    """Those of `params` that `sql` names: a driver refuses the others."""
    return {name: value for name, value in params.items() if f":{name}" in sql}


def _fits(run: RunRecord, name: str | None, status: str | None, tags: Sequence[str], since_ms: int | None) -> bool:
    return (
        (name is None or run.name == name)
        and (status is None or run.status == status)
        and set(tags) <= set(run.tags)
        and (since_ms is None or run.created_ms >= since_ms)
    )


def _number(tx: Transaction, run_id: str) -> int:
    for (seq,) in tx.execute(NUMBER, (run_id,)):
        return int(seq)
    raise RunNotFound(f"no run {run_id!r} is known here: it was never started on this file, or has expired")


def steps(tx: Transaction, run_id: str) -> list[RunStep]:
    """The steps of a run, in the order in which they began, with what executes now. Raises RunNotFound."""
    run = next((_record(tx, row) for row in tx.execute(FIND, (run_id,))), None)
    if run is None:
        raise RunNotFound(f"no run {run_id!r} is known here: it was never started in this queue, or its time is over")
    now = {(row.scope, row.pos): row for row in _executing(run)}
    found: list[RunStep] = []
    for gen in sorted({*(gen for (gen,) in tx.execute(GENS, (run.number,))), run.gen}):
        own = {(row.scope, row.pos): row for row in rows.read(tx, run.number, gen)}
        if gen == run.gen:
            own = {**now, **own}
        for row in rows.in_order(own.values()):
            runs_now = gen == run.gen and (row.scope, row.pos) in now
            scope = in_place(row.scope)
            shown = row if scope is None else row._replace(scope=scope)
            found.append(RunStep(len(found) + 1, gen, _status(tx, row, runs_now, run.status), shown))
    return found


def _executing(run: RunRecord) -> Iterator[StepRow]:
    for one in orjson.loads(run.now) if run.now and run.status == "running" else ():
        names = {name: one[name] for name in ("scope", "pos", "kind", "name", "started_ms")}
        yield StepRow(**names, key=one.get("key"))


def _status(tx: Transaction, row: StepRow, runs_now: bool, of_run: str) -> str:
    if row.ended_ms is not None:
        if row.error is not None:
            return "cancelled" if rows.was_cut_off(row) else "failed"
        return "timed_out" if row.output is None and row.kind in ("event", "approval") else "done"
    if runs_now:
        return "running"
    if of_run in ENDED:
        return "cancelled"  # nothing will come to it any more
    if row.child is not None:
        states = [state for (state,) in tx.execute(CHILD_STATE, (row.child,))]
        return "running" if states == [State.LEASED] else "waiting"
    return "retrying" if row.attempts and row.kind == "step" else "waiting"


def approvals(tx: Transaction, run_id: str | None, *, limit: int) -> list[Approval]:
    """The open requests of a run or of all, the oldest first. Raises RunNotFound."""
    if run_id is None:
        found = tx.execute(ALL_APPROVALS, (limit,))
    else:
        found = tx.execute(APPROVALS_OF, (_number(tx, run_id), limit))
    return [Approval._make(row) for row in found]


def needed_marks(tx: Transaction) -> list[tuple[str, str, str, int]]:
    """The needs of unfinished runs: (workflow, "patch" or "version", its id, how many runs). Costs a scan of them."""
    counts = Counter[tuple[str, str, str]]()
    for run, name, version, gen, marks in tx.execute(UNFINISHED_RUNS):
        counts[name, "version", version] += 1
        own = [mark for (mark,) in tx.execute(MARKED, (run, gen))]
        # The engine's own marks begin with a NUL.
        ids = (mark for mark in rows.marks_of([marks, *own]) if not mark.startswith("\0"))
        counts.update((name, "patch", mark) for mark in ids)
    return [(*key, n) for key, n in sorted(counts.items())]
