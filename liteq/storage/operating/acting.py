"""The acts of an operator on one message: each decides again, in its transaction, whether the state allows it.

The states in which an act is offered come from the one table of transitions (states.LEGAL). A run of a workflow is a
message too: what is asked of one goes to the verbs of runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import orjson

from liteq.exceptions import MessageNotFound, NotEligible, WorkflowError
from liteq.message import Flag
from liteq.states import FINISHED, LEGAL, UNFINISHED, UNSTARTED, State, sql_list
from liteq.storage.canvases import cancel as _cancel
from liteq.storage.driver import LOCK, Transaction
from liteq.storage.operating import commands as _commands
from liteq.storage.reading.browse import Line
from liteq.storage.reading.inspect import Record
from liteq.storage.rows.aside import let_go
from liteq.storage.rows.needed import needed
from liteq.storage.runs import again as _again
from liteq.storage.runs import asks as _asks
from liteq.storage.runs import listing as _listing
from liteq.storage.runs import retention as _retention
from liteq.storage.runs import terminating as _terminating
from liteq.storage.settling import dead as _dead
from liteq.utils.names import is_built_in
from liteq.utils.records import NamedTuple

__all__ = [
    "OF_RUNS", "STATES", "Target", "act", "behind", "find", "find_seen", "is_among", "is_so", "look_at", "refusal",
    "version",
]  # fmt: skip


def _into(state: State, *among: State) -> frozenset[State]:
    """The states, of `among` where given, from which a message may come into `state`."""
    return frozenset(one for one in (among or State) if state in LEGAL[one])


# The states in which each act is offered. The act's own verb has the last word on what a message may become.
STATES: Mapping[str, frozenset[State]] = {
    "retry": _into(State.PENDING, State.SCHEDULED, State.HELD),
    "revoke": _into(State.CANCELLED),
    "terminate": _into(State.CANCELLED),
    "requeue": _into(State.PENDING, State.DEAD),
    "delete": FINISHED,
    "move": UNSTARTED,
    "run-at": _into(State.PENDING, State.SCHEDULED) | _into(State.SCHEDULED, State.PENDING),
    "cancel": UNFINISHED,
    "pause": UNFINISHED,
    "resume": UNFINISHED,
    "rewind": frozenset(State) - {State.LEASED},
}

ROW = f"""
SELECT seq, id, task, queue, priority, state, flags, token, due_ms, retries, finished_ms
  FROM liteq_messages WHERE id = ? AND flags & {Flag.SHOWN} = 0
"""
LOCKED = f"{ROW.rstrip()} {LOCK}"
NOW = f"""
UPDATE liteq_messages SET state = 'pending', delay_ms = NULL,
       due_ms = CASE WHEN due_ms > :now_ms THEN :now_ms ELSE due_ms END
 WHERE seq = :seq AND state IN {sql_list(STATES["retry"])}
"""
MOVE = f"""
UPDATE liteq_messages SET state = CASE WHEN state = 'held' THEN 'pending' ELSE state END,
       queue = coalesce(CAST(:queue AS TEXT), queue),
       priority = coalesce(CAST(:priority AS BIGINT), priority)
 WHERE seq = :seq AND state IN {sql_list(UNSTARTED)}
"""
RUN_AT = f"""
UPDATE liteq_messages SET state = :state, due_ms = :due_ms, delay_ms = :delay_ms
 WHERE seq = :seq AND state IN {sql_list(STATES["run-at"])}
"""
# An errback may be asked for once more, as long as what it is for is there.
DELETE = f"""
DELETE FROM liteq_messages
 WHERE seq = ? AND finished_ms IS NOT NULL AND state <> 'dead' AND flags & {Flag.PERHAPS} = 0
   AND NOT {needed("liteq_messages")}
"""
FOLLOWING = "SELECT id FROM liteq_messages WHERE awaits = :id LIMIT :limit"
GROUP_OF = """
SELECT group_id FROM liteq_messages WHERE id = :id AND group_id IS NOT NULL
UNION ALL SELECT group_id FROM liteq_groups WHERE id = :id AND group_id IS NOT NULL
"""
TAKEN_KEY = "its unique key is taken by an unfinished message"
ASKED_MS = 60_000  # workers that see a command within this time carry it out
ROWS_AT_ONCE = 5_000  # of a run's history, deleted in one transaction


OF_RUNS = frozenset({"cancel", "pause", "resume", "rewind"})


class Target(NamedTuple):
    """The message that is acted upon, as the transaction found it."""

    seq: int
    id: str
    task: str
    queue: str
    priority: int
    state: str
    flags: int
    token: int | None
    due_ms: int
    retries: int
    finished_ms: int | None

    @property
    def is_run(self) -> bool:
        return bool(self.flags & Flag.RUN)


Arguments = Mapping[str, Any]
Verb = Callable[[Transaction, Target, Arguments, int], None]


def version(row: Any) -> str:
    """A short text that is another one once the message (a Target, or a Record) has changed since."""
    parts = (str(row.state), row.queue, row.priority, row.token, row.due_ms, row.retries, row.finished_ms)
    return ".".join("" if part is None else str(part) for part in parts)


def find(tx: Transaction, id_: str) -> Target | None:
    """The message of this id, locked; None where there is none."""
    return next((Target._make(row) for row in tx.execute(LOCKED, (id_,))), None)


def look_at(tx: Transaction, id_: str) -> Target | None:
    """As `find`, in a read."""
    return next((Target._make(row) for row in tx.execute(ROW, (id_,))), None)


def find_seen(tx: Transaction, id_: str, queues: Sequence[str] | None) -> Target:
    """The message of this id where its queue is one of `queues` (globs; None: any). Raises MessageNotFound."""
    target = find(tx, id_)
    if target is None or not is_among(target.queue, queues):
        raise MessageNotFound(id_)
    return target


def is_among(queue: str, queues: Sequence[str] | None) -> bool:
    """Whether `queue` is one of `queues` (globs; None: any)."""
    return queues is None or any(fnmatchcase(queue, glob) for glob in queues)


def behind(tx: Transaction, ids: Sequence[str], *, limit: int) -> int:
    """How many messages stand behind these: await one, or a group of one; no further than `limit` is counted."""
    todo, seen, found = deque(ids), set(ids), 0
    while todo and found < limit:
        node = todo.popleft()
        following = [id_ for (id_,) in tx.execute(FOLLOWING, {"id": node, "limit": limit})]
        groups = [id_ for (id_,) in tx.execute(GROUP_OF, {"id": node})]
        new = [id_ for id_ in (*following, *groups) if id_ not in seen]
        found += sum(id_ in following for id_ in new)
        seen.update(new)
        todo.extend(new)
    return min(found, limit)


def refusal(action: str, target: Target | Record) -> str:
    """The reason why `action` is not offered for a message as it is; "" where it is."""
    is_run = bool(target.flags & Flag.RUN)
    if action in OF_RUNS and not is_run:
        return "it is no run of a workflow"
    allowed = STATES[action]
    if target.state not in allowed:
        return f"it is {target.state}"
    if action == "terminate" and not is_run and target.state != State.LEASED:
        return f"it is {target.state}"
    if action == "requeue" and not target.queue:
        return "its end was stored, and there is no message that could run"
    if action in {"retry", "run-at"} and is_run and target.flags & Flag.HISTORY:
        return "a run that has begun is woken by what it waits for"
    if action in {"retry", "run-at"} and is_built_in(target.task):
        return "its time is liteq's own"
    return ""


def is_so(action: str, target: Target | Line, arguments: Arguments) -> bool:
    """Whether a message has already what `action`, a move or a run-at, would give it."""
    match action:
        case "move":
            queue, priority = arguments.get("queue"), arguments.get("priority")
            return queue in {None, target.queue} and priority in {None, target.priority}
        case "run-at":
            return int(arguments["at_ms"]) == target.due_ms
    return False


def act(
    tx: Transaction, action: str, target: Target, arguments: Arguments, *, queues: Sequence[str] | None = None,
    now_ms: int,
) -> None:  # fmt: skip
    """Do `action` to a message that `find` has just read. Raises NotEligible; then nothing is done.

    `queues`: the globs within which the actor may move it.
    """
    why = refusal(action, target)
    if not why and action == "move" and not is_among(str(arguments.get("queue") or target.queue), queues):
        why = f"the queue {arguments['queue']!r} is not among those of its actor"
    if why:
        raise NotEligible(target.id, action, target.state, why)
    try:
        VERBS[action](tx, target, arguments, now_ms)
    except (WorkflowError, ValueError) as error:  # raised by verbs of runs before they write
        raise NotEligible(target.id, action, target.state, str(error)) from error


def _refuse(action: str, target: Target, why: str) -> None:
    raise NotEligible(target.id, action, target.state, why)


def _retry(tx: Transaction, target: Target, _arguments: Arguments, now_ms: int) -> None:
    tx.executemany(NOW, [{"seq": target.seq, "now_ms": now_ms}])


def _ask_workers(tx: Transaction, command: str, arguments: Mapping[str, object], now_ms: int) -> None:
    document = orjson.dumps(arguments)
    _commands.send(tx, command, document, None, wants_reply=False, expires_ms=now_ms + ASKED_MS, now_ms=now_ms)


def _revoke(tx: Transaction, target: Target, _arguments: Arguments, now_ms: int) -> None:
    _stop(tx, target, now_ms, terminate=False)


def _terminate(tx: Transaction, target: Target, arguments: Arguments, now_ms: int) -> None:
    if not target.is_run:
        _stop(tx, target, now_ms, terminate=True)
        return
    _, token = _terminating.terminate(tx, target.id, reason=str(arguments.get("reason") or ""), now_ms=now_ms)
    if token is not None:
        _ask_workers(tx, "end_runs", {"tokens": [token]}, now_ms)


def _stop(tx: Transaction, target: Target, now_ms: int, *, terminate: bool) -> None:
    running = _cancel.revoke(tx, [target.id], now_ms=now_ms, keep_ms=int(_commands.REVOKES_KEPT_S * 1000)).running
    if running:
        document = {"task_id": [target.id, *(i for i in running if i != target.id)], "terminate": terminate}
        _ask_workers(tx, "revoke", {**document, "signal": "SIGTERM"}, now_ms)


def end_for_another(tx: Transaction, id_: str, *, reason: str, now_ms: int) -> None:
    """End a message whose place another one takes: a run is cancelled, a task revoked, and its process ended."""
    target = find(tx, id_)
    if target is not None and target.is_run:
        _asks.cancel(tx, [id_], reason=reason, now_ms=now_ms)
    elif target is not None:
        _stop(tx, target, now_ms, terminate=True)


def _requeue(tx: Transaction, target: Target, _arguments: Arguments, now_ms: int) -> None:
    if not _again.requeue_all(tx, [target.id], now_ms=now_ms):
        _refuse("requeue", target, "its run has undone its steps" if target.is_run else TAKEN_KEY)


def _delete(tx: Transaction, target: Target, _arguments: Arguments, _now_ms: int) -> None:
    if target.state == State.DEAD:
        gone = bool(_dead.drop(tx, [target.id]))
    elif target.is_run:
        gone = bool(_retention.empty(tx, [target.id], limit=ROWS_AT_ONCE)[1])
    else:
        gone = bool(tx.executemany(DELETE, [(target.seq,)]))
        let_go(tx, [target.id])
    if not gone:
        _refuse("delete", target, "something unfinished may still ask for its end")


def _move(tx: Transaction, target: Target, arguments: Arguments, _now_ms: int) -> None:
    if is_so("move", target, arguments):
        _refuse("move", target, "it is there already")
    row = {"seq": target.seq, "queue": arguments.get("queue"), "priority": arguments.get("priority")}
    tx.executemany(MOVE, [row])


def _run_at(tx: Transaction, target: Target, arguments: Arguments, now_ms: int) -> None:
    at_ms = int(arguments["at_ms"])
    if is_so("run-at", target, arguments):
        _refuse("run-at", target, "it is due then already")
    later = at_ms > now_ms
    state = State.SCHEDULED if later else State.PENDING
    row = {"seq": target.seq, "state": state.value, "due_ms": at_ms, "delay_ms": at_ms - now_ms if later else None}
    tx.executemany(RUN_AT, [row])


def _cancel_run(tx: Transaction, target: Target, arguments: Arguments, now_ms: int) -> None:
    _asks.cancel(tx, [target.id], reason=str(arguments.get("reason") or ""), now_ms=now_ms)


def _pause(tx: Transaction, target: Target, _arguments: Arguments, now_ms: int) -> None:
    _asks.pause(tx, target.id, now_ms=now_ms)


def _resume(tx: Transaction, target: Target, _arguments: Arguments, now_ms: int) -> None:
    if not _asks.resume(tx, target.id, now_ms=now_ms):
        _refuse("resume", target, "it is neither paused nor stuck")


def _rewind(tx: Transaction, target: Target, arguments: Arguments, now_ms: int) -> None:
    step = arguments["step"]
    before = step if isinstance(step, int) else None
    for one in () if before is not None else _listing.steps(tx, target.id):
        if one.row.name == step:
            before = one.n  # the last of that name: the least is undone
    if before is None:
        _refuse("rewind", target, f"it has no step {step!r}")
    else:
        _again.rewind(tx, target.id, before, now_ms=now_ms)


VERBS: Mapping[str, Verb] = {
    "retry": _retry,
    "revoke": _revoke,
    "terminate": _terminate,
    "requeue": _requeue,
    "delete": _delete,
    "move": _move,
    "run-at": _run_at,
    "cancel": _cancel_run,
    "pause": _pause,
    "resume": _resume,
    "rewind": _rewind,
}
