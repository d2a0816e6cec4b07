"""Why a task is as it is: waits, runs, failed, was left out. One answer for pages, the command line and JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from liteq.context import App
from liteq.context.living import knows, living, none_knows, takes_from
from liteq.context.unknown import UNKNOWN_SINCE
from liteq.message import Flag
from liteq.monitor.access.failing import error_document, first_failure
from liteq.monitor.access.sight import ALL, Sight
from liteq.monitor.runs.runs import as_seen, value, waiting_line
from liteq.monitor.tasks.exclusion import duplicate_of, put_off
from liteq.monitor.tasks.held import held_back
from liteq.monitor.tasks.tasks import batch_of
from liteq.monitor.tasks.telling import progress_document
from liteq.serialization import decode, decode_error
from liteq.serialization.sealing import key_of
from liteq.states import FINISHED, State
from liteq.storage.claiming.workers import WorkerRecord
from liteq.storage.reading.inspect import Record
from liteq.utils.text import as_command, iso_time, span, times

__all__ = ["REASONS", "explain", "explain_record"]

REASONS: Final = (
    "paused", "no_worker", "quiet", "unknown_task", "disk_reserve", "behind", "busy", "next", "rate", "limit", "turn",
    "key_missing", "due", "debounced", "throttled", "retry", "awaits", "duplicate", "running", "silent", "failed",
    "upstream", "revoked", "expired", "done", "waits", "stuck",
)  # fmt: skip

LONGEST_ERROR: Final = 2_000  # characters of it, of a stuck run: at its end it says what to do
HAVE_BEGUN: Final = frozenset({State.LEASED, State.SUCCEEDED, State.DEAD})

Why = tuple[str, str, dict[str, Any]]


def explain(app: App, id_: str, see: Sight = ALL) -> dict[str, Any] | None:
    """Why the task of this id is as it is: {"id", "state", "reason", "text", "details"}; None where it is not there.

    `reason` is one of REASONS, `text` a sentence or two, `details` the facts behind it.
    """
    record = app.storage.reader.find(id_)
    return None if record is None or not see.sees(record.queue) else explain_record(app, record, see)


def explain_record(app: App, record: Record, see: Sight = ALL) -> dict[str, Any]:
    """As `explain`, of a message that was read."""
    reason, text, details = _of_run(app, record, see) or _BY_STATE[record.state](app, record, see)
    if record.state in HAVE_BEGUN and (batch := batch_of(app, record, see)) is not None:
        verb = "runs" if record.state is State.LEASED else "ran"
        text, details = f"{text} It {verb} in a batch of {batch['n']:,}.", {**details, "batch": batch["ids"]}
    return {"id": record.id, "state": record.state.value, "reason": reason, "text": text, "details": details}


def _ago_s(app: App, ms: int | None) -> float:
    return 0.0 if ms is None else max(0.0, (app.clock.now_ms() - ms) / 1000)


# -- pending --------------------------------------------------------------------------------------------------------


def _pending(app: App, record: Record, see: Sight) -> Why:
    """The first of the reasons that holds."""
    alive = living(app)
    takers = [worker for worker in alive if takes_from(worker, record.queue, quiet=True)]
    return (
        _paused(app, record)
        or _no_worker(record, alive, takers, see)
        or _quiet(record, takers)
        or _unknown_task(record, takers)
        or _disk_reserve(app)
        or _in_the_queue(app, record, takers, see)
    )


def _paused(app: App, record: Record) -> Why | None:
    pause = app.storage.queues.paused().of(record.queue)
    if pause is None:
        return None
    by = f" by {pause.actor}" if pause.actor else ""
    why = f": {pause.reason}" if pause.reason else ""
    until = "" if pause.until_ms is None else f"; it goes on by itself at {iso_time(pause.until_ms)}"
    ago = span(_ago_s(app, pause.since_ms))
    resume = as_command("queue resume", pause.queue)
    text = f"The queue {record.queue!r} was paused{by} {ago} ago{why}{until}. {resume}."
    facts = {"queue": record.queue, "by": pause.actor, "why": pause.reason}
    return "paused", text, {**facts, **times(since=pause.since_ms, until=pause.until_ms)}


def _no_worker(record: Record, alive: Sequence[WorkerRecord], takers: Sequence[WorkerRecord], see: Sight) -> Why | None:
    if takers:
        return None
    others = sorted({str(queue) for worker in alive for queue in worker.facts.get("queues") or () if see.sees(queue)})
    of = ", ".join(others) or "others"
    lives = f"the {len(alive)} that live take from {of}" if alive else "none lives"
    start = as_command("worker -Q", record.queue)
    text = f"No worker takes from the queue {record.queue!r}: {lives}. Start one with {start}."
    return "no_worker", text, {"queue": record.queue, "workers": len(alive), "queues": others}


def _quiet(record: Record, takers: Sequence[WorkerRecord]) -> Why | None:
    if not all(worker.facts.get("quiet") for worker in takers):
        return None
    names = sorted(worker.name for worker in takers)
    text = f"The workers of the queue {record.queue!r} are quiet: they claim nothing until `liteq control wake`."
    return "quiet", text, {"queue": record.queue, "workers": names}


def _unknown_task(record: Record, takers: Sequence[WorkerRecord]) -> Why | None:
    if not none_knows(takers, record.task):
        return None
    names = sorted(worker.name for worker in takers)
    text = (
        f"No living worker of the queue {record.queue!r} knows the task {record.task!r}: "
        "start one whose app has it, or deploy the code that declares it."
    )
    return "unknown_task", text, {"task": record.task, "workers": names}


def _disk_reserve(app: App) -> Why | None:
    if not app.storage.driver.in_reserve():
        return None
    text = (
        "The disk is full and the space held in reserve is in use: workers finish what runs and claim nothing. "
        "Free some space."
    )
    return "disk_reserve", text, {}


def _in_the_queue(app: App, record: Record, takers: Sequence[WorkerRecord], see: Sight) -> Why:
    before = app.storage.views.ahead(record.id)
    slots = sum(n for worker in takers if isinstance(n := worker.facts.get("concurrency"), int))
    taken = sum(worker.leased for worker in takers)
    facts = {
        "queue": record.queue, "slots": slots, "taken": taken, "workers": len(takers),
        "wait_s": _ago_s(app, record.due_ms),
    }  # fmt: skip
    if before is not None and before.n:
        about = f"{before.n:,}" if before.exact else f"{before.n:,} or more"
        text = f"About {about} messages of the queue {record.queue!r} are claimed before it."
        return "behind", text, {**facts, "ahead": {"n": before.n, "exact": before.exact}}
    if slots and taken >= slots:
        leased = [one for one in app.storage.views.page("leased", limit=1_000) if see.sees(one.queue)]
        longest = min(leased, key=lambda one: one.started_ms or one.due_ms, default=None)
        since = None if longest is None else longest.started_ms
        for_ = f", the longest since {span(_ago_s(app, since))}" if since else ""
        text = f"It is the next of {record.queue!r}, but all {slots} slots of its workers are taken{for_}."
        return "busy", text, {**facts, "longest": None if longest is None else longest.id, **times(since=since)}
    return "next", f"It is the next of {record.queue!r}: a worker takes it in a moment.", facts


# -- held back, not due, blocked ------------------------------------------------------------------------------------


def _held(app: App, record: Record, see: Sight) -> Why:
    found = held_back(app, record, see)
    if found is not None:
        return found
    text = f"A rate limit of the task {record.task!r} that its workers keep by themselves has no token for it."
    return "rate", text, {"task": record.task, "rate": None}


def _scheduled(app: App, record: Record, _see: Sight) -> Why:
    now_ms = app.clock.now_ms()
    left = span(abs(record.due_ms - now_ms) / 1000)
    when = f"in {left}, at {iso_time(record.due_ms)}"
    if record.due_ms <= now_ms:
        when = f"since {left}: a worker of its queue takes it when it looks"
    facts = {"retries": record.retries, **times(due=record.due_ms)}
    if (unopened := _key_missing(app, record)) is not None:
        return unopened[0], f"{unopened[1]} It is offered again {when}.", {**facts, **unopened[2]}
    if record.due_ms > now_ms and (waits := put_off(app, record)) is not None:
        return waits
    if not record.retries and record.error is None:
        takers = [worker for worker in living(app) if takes_from(worker, record.queue, quiet=True)]
        if takers and (unknown := _unknown_task(record, takers)) is not None:
            return unknown[0], f"It is due {when}. {unknown[1]}", {**facts, **unknown[2]}
        return "due", f"It is due {when}.", facts
    most = getattr(app.tasks.find(record.task), "max_retries", None)
    of = f" of {most}" if isinstance(most, int) else ""
    error = error_document(app, record, record)
    after = f", after {error['type']}: {error['message']}" if error else ""
    text = f"It is tried again {when}: retry {record.retries}{of}{after}."
    return "retry", text, {**facts, "max_retries": most, "error": error}


def _key_missing(app: App, record: Record) -> Why | None:
    """The reason where a worker has claimed it, could not open it, and has left it to others; else None.

    A worker that does not know the task leaves it in the same way, and says so in its options. Where this process lacks
    the key too, it cannot read them, and goes by what that worker says of its tasks, while it lives.
    """
    if not record.flags & Flag.LEFT or (key := app.storage.values.key_of(record.id)) is None:
        return None
    if record.options and key_of(record.options) is None and UNKNOWN_SINCE in decode(record.options):
        return None
    named = f"the key {key!r}" if key else "its key"
    who, facts = f"The worker {record.worker}" if record.worker else "A worker", {"key": key, "worker": record.worker}
    there = (worker for worker in living(app) if worker.name == record.worker)
    if record.options and key_of(record.options) is not None and not any(knows(one, record.task) for one in there):
        text = (
            f"{who} left it to others: it could not open it, or does not know its task. Which of the two is not to be "
            f"seen here, where {named}, under which it is sealed, is missing too."
        )
        return "key_missing", text, facts
    text = (
        f"{who} could not open it: {named}, under which it is sealed, is missing there, or wrong. Give {named} to the "
        f"workers of the queue {record.queue!r}; it waits for one that has it, and no attempt is counted."
    )
    return "key_missing", text, facts


def _blocked(app: App, record: Record, see: Sight) -> Why:
    node = record.awaits
    if node is None:
        return "awaits", "It waits to be let go.", {"awaits": None}
    group = app.storage.reader.find_group(node)
    if group is not None:
        first = app.storage.views.failed_of(node) if group.failed else None
        if first is not None and ((member := app.storage.reader.find(first)) is None or not see.sees(member.queue)):
            first = None
        failed = f", {group.failed:,} failed" + (f", the first {first}" if first else "") if group.failed else ""
        text = f"It awaits the group {node}: {group.remaining:,} of {group.size:,} members are left{failed}."
        facts = {"size": group.size, "remaining": group.remaining, "failed": group.failed, "first_failed": first}
        return "awaits", text, {"awaits": node, "group": facts}
    other = app.storage.reader.find(node)
    if duplicate_of(record) == node and (other is None or see.sees(other.queue)):
        is_ = "" if other is None else f", which is {other.state.value}"
        text = f"It is a duplicate of {node}{is_}, which holds its unique key: it ends as that message ends."
        return "duplicate", text, {"awaits": node, "state": None if other is None else other.state.value}
    if other is None or not see.sees(other.queue):
        return "awaits", f"It awaits {node}, which is not to be seen.", {"awaits": node}
    text = f"It awaits the task {other.task} ({node}), which is {other.state.value}."
    return "awaits", text, {"awaits": node, "task": other.task, "state": other.state.value}


# -- leased ---------------------------------------------------------------------------------------------------------


def _leased(app: App, record: Record, see: Sight) -> Why:
    held = app.storage.views.held_by(record.id)
    if held is None:
        return "running", "It has just ended.", {}
    began = record.started_ms
    facts = {
        "worker": held.worker, "host": held.host, "pid": held.pid, "progress": progress_document(record.progress, see),
        **times(since=began, lease_ends=held.deadline_ms, heartbeat=held.heartbeat_ms),
    }  # fmt: skip
    alive = held.uuid is not None and any(worker.uuid == held.uuid for worker in living(app))
    over = held.deadline_ms is not None and held.deadline_ms < app.clock.now_ms()
    if alive and not over:
        for_ = f" for {span(_ago_s(app, began))}" if began else ""
        lease = "" if held.deadline_ms is None else f"; its lease ends in {span(-_ago_left(app, held.deadline_ms))}"
        text = f"It runs{for_} on {held.worker} (pid {held.pid}){lease}{_gathered(app, record)}."
        return "running", text + _so_far(facts["progress"]), facts
    silent = f"for {span(_ago_s(app, held.heartbeat_ms))}" if held.heartbeat_ms is not None else "as it is gone"
    ends = "has run out" if over else f"ends at {iso_time(held.deadline_ms)}"
    text = f"Its worker {held.worker or ''} says nothing {silent}; the lease {ends}, then another worker takes it."
    return "silent", text.replace("  ", " "), facts


def _gathered(app: App, record: Record) -> str:
    """More on a message that a worker may keep until its batch is full, of which the file does not know."""
    terms = getattr(app.tasks.find(record.task), "batch_terms", None)
    return "" if terms is None else f"; or its batch of up to {terms.size} fills there, for {terms.wait_s:g} s at most"


def _so_far(progress: dict[str, Any] | None) -> str:
    """The last report of progress, as a sentence behind another one."""
    if progress is None or progress["current"] is None:
        return ""
    done, total, eta_s = progress["current"], progress["total"], progress["eta_s"]
    of = "" if total is None else f" of {total:,}"
    left = "" if eta_s is None else f", about {span(eta_s)} left"
    note = f": {progress['note']}" if progress["note"] else ""
    return f" It has done {done:,}{of}{left}{note}."


def _ago_left(app: App, ms: int) -> float:
    return (app.clock.now_ms() - ms) / 1000


# -- ended ----------------------------------------------------------------------------------------------------------


def _dead(app: App, record: Record, _see: Sight) -> Why:
    error = error_document(app, record, record)
    attempts = record.retries + 1
    words = f"{error['type']}: {error['message']}" if error else "its error is not kept"
    crashes = f", {record.crashes} crashes of its process" if record.crashes else ""
    tries = "once" if attempts == 1 else f"{attempts} times"
    requeue = as_command("dead requeue", record.id)
    text = f"It failed {tries}{crashes}, last with {words}. It can be requeued: {requeue}."
    facts = {"attempts": attempts, "crashes": record.crashes, "reaps": record.reaps, "error": error}
    return "failed", text, {**facts, **times(failed=record.finished_ms)}


def _upstream(app: App, record: Record, see: Sight) -> Why:
    """The first failure on the way up to this message."""
    at = first_failure(app, record)
    error = error_document(app, record, record)
    if at is None or not see.sees(at.queue):
        words = f": {error['type']}: {error['message']}" if error else ""
        return "upstream", f"What it awaited did not succeed{words}.", {"first": None, "error": error}
    error = error_document(app, at, at) or error
    words = f": {error['type']}: {error['message']}" if error else ""
    text = f"It did not run, because {at.task} ({at.id}) is {at.state.value}{words}."
    return "upstream", text, {"first": at.id, "task": at.task, "state": at.state.value, "error": error}


def _cancelled(app: App, record: Record, _see: Sight) -> Why:
    error = decode_error(record.error) if record.error else None
    reason = error.message if error else ""
    if reason == "expired":
        text = f"It was not started before it expired, at {iso_time(record.expires_ms)}."
        return "expired", text, times(expires=record.expires_ms, ended=record.finished_ms)
    ended = span(_ago_s(app, record.finished_ms))
    what = "" if reason in ("", "revoked") else f" ({reason})"
    return "revoked", f"It was revoked {ended} ago{what}.", {"why": reason, **times(ended=record.finished_ms)}


def _succeeded(app: App, record: Record, _see: Sight) -> Why:
    ended = span(_ago_s(app, record.finished_ms))
    ran = ""
    if record.started_ms is not None and record.finished_ms is not None:
        ran = f", after {span((record.finished_ms - record.started_ms) / 1000)}"
    return "done", f"It succeeded {ended} ago{ran}.", times(started=record.started_ms, ended=record.finished_ms)


_BY_STATE: Final[dict[State, Callable[[App, Record, Sight], Why]]] = {
    State.PENDING: _pending,
    State.HELD: _held,
    State.SCHEDULED: _scheduled,
    State.BLOCKED: _blocked,
    State.LEASED: _leased,
    State.DEAD: _dead,
    State.UPSTREAM_FAILED: _upstream,
    State.CANCELLED: _cancelled,
    State.SUCCEEDED: _succeeded,
}


# -- runs -----------------------------------------------------------------------------------------------------------


def _of_run(app: App, record: Record, see: Sight) -> Why | None:
    """The reasons of a run that waits; None for a plain task, and where a run is as any message."""
    if not record.flags & Flag.RUN or record.state in FINISHED:
        return None
    found = app.storage.runs.find(record.id)
    if found is None:
        return None
    run = as_seen(app, found, see)
    facts = {"workflow": run.name, "version": run.version, "waiting_for": [*run.waiting_for], **times(due=run.due_ms)}
    match run.status:
        case "stuck":
            text = (
                f"The run is stuck at version {run.version!r}: {waiting_line(run, LONGEST_ERROR)}. "
                "Deploy code that can go on with it, or resume, rewind or cancel it."
            )
            return "stuck", text, {**facts, "error": value(run.error)}
        case "paused":
            why = f": {run.reason}" if run.reason else ""
            text = f"The run is paused{why}. {as_command('workflow resume', run.id)} lets it go on."
            return "paused", text, {**facts, "why": run.reason}
        case "waiting":
            due = f", until {iso_time(run.due_ms)} at most" if run.due_ms else ""
            text = f"The run waits for {', '.join(run.waiting_for) or 'a wake-up'}{due}."
            return "waits", text, facts
    return None
