"""The tables of `liteq top`, made of the documents that pages show too: pure functions, from JSON to cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from liteq.utils.records import NamedTuple
from liteq.utils.text import printable

__all__ = ["MOST_ROWS", "VIEWS", "Column", "Line", "View", "bars", "count", "head", "short"]

MOST_ROWS = 200
Document = Mapping[str, Any]


class Column(NamedTuple):
    """A column: its title, its width in cells, and whether numbers stand at its right edge."""

    title: str
    width: int
    right: bool = False


class Line(NamedTuple):
    """A row: `key` says of what it is, and stays the same while it is shown; a text for each column."""

    key: str
    cells: tuple[str, ...]


class View(NamedTuple):
    """One of the tables: `lines(documents)` are its rows, `kind` is the subject of a row."""

    name: str
    kind: str
    columns: tuple[Column, ...]
    lines: Callable[[Mapping[str, Any]], list[Line]]


# -- words -----------------------------------------------------------------------------------------------------------


def short(seconds: float | None) -> str:
    """A span of time in six characters at most: "0.2s", "41s", "3m02s", "5h07m", "12d"."""
    if seconds is None:
        return "-"
    seconds = max(0.0, seconds)
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 48 * 3600:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86_400:,}d"


def count(found: Any) -> str:
    """A count `{n, exact}` or a number: "14", "10,000+"; "-" where there is none."""
    if found is None:
        return "-"
    if isinstance(found, Mapping):
        return f"{found['n']:,}" + ("" if found.get("exact", True) else "+")
    return f"{found:,}"


def rate(per_s: float | None) -> str:
    """A number a second in five characters."""
    if per_s is None:
        return "-"
    return f"{per_s:,.0f}" if per_s >= 10 or per_s == 0 else f"{per_s:.1f}"


def bars(values: Sequence[float], width: int = 10) -> str:
    """A series as a line of blocks, the newest at its right end; the highest value is the highest block."""
    blocks = "▁▂▃▄▅▆▇█"
    shown = list(values)[-width:]
    top = max(shown, default=0.0)
    if top <= 0:
        return blocks[0] * len(shown)
    return "".join(blocks[min(7, int(value / top * 7.999))] for value in shown)


def bar(fraction: float, width: int = 10) -> str:
    """A share as a bar: "######----"."""
    full = round(min(1.0, max(0.0, fraction)) * width)
    return "#" * full + "-" * (width - full)


def text(value: Any) -> str:
    """A text that others wrote, fit for a terminal and for one line."""
    return "" if value is None else printable(" ".join(str(value).split()))


# -- the tables ------------------------------------------------------------------------------------------------------


def _queues(documents: Document) -> list[Line]:
    return [_queue(one) for one in documents["overview"]["queues"]]


def _queue(one: Document) -> Line:
    paused = one.get("paused")
    if paused:
        wait, wait_for = "paused by", text(paused.get("by")) or "?"
    else:
        wait, wait_for = count(one["waiting"]), short(one.get("head_wait_s"))
    running = f"{count(one.get('running'))}/{count(one.get('slots'))}"
    held = one.get("held")
    shown_held = "" if not (held["n"] if isinstance(held, Mapping) else held) else count(held)
    cells = (
        text(one["name"]), wait, wait_for, rate(one.get("in_s")), rate(one.get("out_s")), running, shown_held,
        count(one.get("workers")),
    )  # fmt: skip
    return Line(str(one["name"]), cells)


def _running(documents: Document) -> list[Line]:
    now_ms = documents["now"]
    return [_running_line(one, now_ms) for one in documents["overview"]["running"]]


def _running_line(one: Document, now_ms: int) -> Line:
    started, due = one.get("started"), one.get("due")
    if started is not None:
        since = short((now_ms - started) / 1000)
    else:  # its first attempt is in the file when it has ended: until then no longer than it has been due
        since = "-" if due is None else f"<{short((now_ms - due) / 1000)}"
    cells = (text(one["task"]), text(one.get("worker")), since, _progress(one), text(one.get("queue")), text(one["id"]))
    return Line(str(one["id"]), cells)


def _progress(one: Document) -> str:
    """How far a task has told that it is; else its arguments."""
    told = one.get("progress")
    if isinstance(told, Mapping) and told.get("current") is not None:
        done, total, eta_s = told["current"], told.get("total"), told.get("eta_s")
        left = "" if eta_s is None else f" {short(eta_s)} left"
        return f"{bar(done / total)} {done / total:.0%}{left}" if total else text(f"{done:,} {told.get('note') or ''}")
    args, kwargs = one.get("args") or (), one.get("kwargs") or {}
    if not isinstance(args, (list, tuple)) or not isinstance(kwargs, Mapping):
        return text(f"{args or ''} {kwargs or ''}")
    return text(" ".join([*map(str, args), *(f"{name}={value}" for name, value in kwargs.items())]))


def _failures(documents: Document) -> list[Line]:
    now_ms = documents["now"]
    causes = (documents.get("failures") or {}).get("items") or documents["overview"]["causes"]
    items = causes.get("items", []) if isinstance(causes, Mapping) else causes
    return [_failure(one, now_ms) for one in items]


def _failure(one: Document, now_ms: int) -> Line:
    error = " ".join(part for part in (text(one.get("exception")), text(one.get("message"))) if part)
    last = one.get("last")
    ago = "-" if last is None else short((now_ms - last) / 1000)
    first = one.get("first")
    since = "-" if first is None else short((now_ms - first) / 1000)
    return Line(str(one["id"]), (text(one["task"]), count(one["n"]), ago, error, since, text(one.get("queue"))))


def _workers(documents: Document) -> list[Line]:
    now_ms = documents["now"]
    found = []
    for one in documents["workers"]["items"]:
        beat = short((now_ms - one["heartbeat"]) / 1000)
        slots = f"{count(one.get('busy'))}/{count(one.get('slots'))}"
        load = one.get("load")
        weights = one.get("weights") or {}
        queues = text(",".join(f"{name}={weights[name]}" if name in weights else name for name in one["queues"]))
        state = "quiet" if one.get("quiet") and one["state"] == "up" else one["state"]
        cells = (
            text(one["name"]), state, slots, beat, queues, "-" if load is None else f"{load:.1f}",
            text(one.get("version")), text(one.get("release")),
        )  # fmt: skip
        found.append(Line(f"{one['name']} {one.get('pid')}", cells))
    return found


def _workflows(documents: Document) -> list[Line]:
    now_ms = documents["now"]
    found = []
    for one in documents["workflows"]["items"]:
        created = one.get("created")
        age = "-" if created is None else short((now_ms - created) / 1000)
        cells = (text(one["name"]), text(one["kind"]), text(one["status"]), _parts(one), age, text(one["id"]))
        found.append(Line(str(one["id"]), cells))
    return found


def _parts(one: Document) -> str:
    """How far a canvas is: "7,312/10,002", with the failed ones; what a run waits for."""
    progress = one.get("progress")
    if not isinstance(progress, Mapping):
        return text(one.get("waits_for") or one.get("error"))
    done, total = progress.get("done"), progress.get("total")
    failed = progress.get("failed")
    return f"{count(done)}/{count(total)}" + (f" {count(failed)} failed" if failed else "")


def _schedules(documents: Document) -> list[Line]:
    now_ms = documents["now"]
    found = []
    for one in documents["schedules"]["items"]:
        due, last = one.get("next"), one.get("last")
        state = "paused" if not one.get("enabled", True) else "late" if (one.get("late_s") or 0) > 60 else "on"
        cells = (
            text(one["name"]), text(one.get("task")), text(one.get("schedule")), state,
            "-" if due is None else ("-" if due < now_ms else "") + short(abs(due - now_ms) / 1000),
            "-" if last is None else short((now_ms - last) / 1000),
        )  # fmt: skip
        found.append(Line(str(one["name"]), cells))
    return found


def _limits(documents: Document) -> list[Line]:
    return [_limit(one) for one in documents["limits"]["items"]]


def _limit(one: Document) -> Line:
    """A key of a limit: what it allows, how much of that runs, what waits for it and since when."""
    most, paused = one.get("concurrent"), one.get("paused")
    runs = count(one.get("running")) + (f"/{most:,}" if most is not None else "")
    of = f"by {one['of']}" if one.get("of") else ""
    where = f"paused {paused.get('reason') or ''}" if paused else " ".join([of, *one.get("queues", ())])
    cells = (
        text(one["key"]), text(one.get("rate")), runs, count(one.get("held")), short(one.get("head_wait_s")),
        text(where.strip()),
    )  # fmt: skip
    return Line(str(one["key"]), cells)


def _found(documents: Document) -> list[Line]:
    now_ms = documents["now"]
    found = []
    for one in documents["tasks"]["items"]:
        at = one.get("finished") or one.get("started") or one.get("created")
        error = one.get("error") or {}
        said = f"{error.get('type') or ''} {error.get('message') or ''}" if isinstance(error, Mapping) else error
        age = "-" if at is None else short((now_ms - at) / 1000)
        cells = (text(one["task"]), text(one["state"]), text(one["queue"]), age, text(said), text(one["id"]))
        found.append(Line(str(one["id"]), cells))
    return found


VIEWS: dict[str, View] = {
    "1": View(
        "queues", "queue",
        (
            Column("QUEUE", 14), Column("WAIT", 9, right=True), Column("HEAD", 7, right=True),
            Column("IN/S", 5, right=True), Column("OUT/S", 5, right=True), Column("RUN", 7, right=True),
            Column("HELD", 6, right=True), Column("W", 3, right=True),
        ),
        _queues,
    ),
    "2": View(
        "running", "task",
        (
            Column("RUNNING", 18), Column("WORKER", 12), Column("SINCE", 7, right=True), Column("PROGRESS, ARGS", 22),
            Column("QUEUE", 10), Column("ID", 36),
        ),
        _running,
    ),
    "3": View(
        "failures", "cause",
        (
            Column("FAILURES", 18), Column("N", 7, right=True), Column("LAST", 6, right=True), Column("ERROR", 28),
            Column("FIRST", 6, right=True), Column("QUEUE", 10),
        ),
        _failures,
    ),
    "4": View(
        "workers", "worker",
        (
            Column("WORKER", 22), Column("STATE", 6), Column("BUSY", 7, right=True), Column("BEAT", 6, right=True),
            Column("QUEUES", 18), Column("LOAD", 5, right=True), Column("VERSION", 8), Column("RELEASE", 10),
        ),
        _workers,
    ),
    "5": View(
        "workflows", "workflow",
        (
            Column("WORKFLOW", 22), Column("KIND", 7), Column("STATE", 10), Column("DONE, WAITS FOR", 22),
            Column("AGE", 6, right=True), Column("ID", 36),
        ),
        _workflows,
    ),
    "6": View(
        "schedules", "schedule",
        (
            Column("SCHEDULE", 22), Column("TASK", 20), Column("WHEN", 20), Column("STATE", 6),
            Column("NEXT", 7, right=True), Column("LAST", 6, right=True),
        ),
        _schedules,
    ),
    "7": View(
        "search", "task",
        (
            Column("TASK", 20), Column("STATE", 10), Column("QUEUE", 10), Column("AGE", 6, right=True),
            Column("ERROR", 24), Column("ID", 36),
        ),
        _found,
    ),
    "8": View(
        "limits", "limit",
        (
            Column("LIMIT", 26), Column("RATE", 8, right=True), Column("RUN", 9, right=True),
            Column("HELD", 8, right=True), Column("HEAD", 7, right=True), Column("OF, QUEUES", 24),
        ),
        _limits,
    ),
}  # fmt: skip


def head(documents: Document, history: Sequence[float] = (), mood: str = "", *, wide: bool = True) -> str:
    """The line above the tables: the file, `mood`, rates, dead letters; where it is `wide`, also what can wait."""
    overview = documents["overview"]
    rates = overview.get("rates") or {}
    parts = [
        f"liteq {text(documents.get('file'))}",
        *([mood] if mood else []),
        f"{rate(rates.get('done_s'))}/s",
        f"failed {rate(rates.get('failed_s'))}/s",
        f"wait p95 {short(rates.get('wait_p95_s'))}",
        f"run p95 {short(rates.get('run_p95_s'))}",
        *([bars(history)] if history and wide else []),
        f"dead {count((overview.get('states') or {}).get('dead'))}",
    ]
    wal = documents.get("wal")
    if wal is not None and wide:
        parts.append(f"wal {wal / 2**20:,.0f} MB")
    return "  ".join(parts)
