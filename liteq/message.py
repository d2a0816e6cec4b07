"""The data that travels: a message as it is sent, the lease a worker holds on it, its outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any

from liteq.flags import DEPTH_SHIFT, Flag, depth_of
from liteq.utils.exclusion import Exclusion
from liteq.utils.ids import new_id, new_ids
from liteq.utils.records import NamedTuple, dataclass

__all__ = [
    "DEPTH_SHIFT", "LATER", "Ack", "Batch", "Cancel", "ContinueAsNew", "DeadLetter", "Exclusion", "Flag", "Group",
    "Hold", "Lease", "Limited", "Message", "Outcome", "Park", "Ran", "Release", "Replace", "RetryAt", "RunFacts",
    "RunSpec", "StepRow", "Suspend", "WorkerIdentity", "depth_of", "new_id", "new_ids",
]  # fmt: skip

DEFAULT_QUEUE = "celery"
LATER = b""  # the input of a lease that its executor reads by itself; no document is empty


# Made once and never changed, yet not `frozen`: that triples the cost of the hottest thing a producer and a worker do.
@dataclass(slots=True)
class RunSpec:
    """The part of a run-to-be that stands in liteq_runs, beside its message.

    `timeout_ms`: counted from the first activation, waits included; None for none. `forked_from`: the id of a run.
    `budget`: what it and its children may spend, (what, most, period in ms, soft, asks), as liteq_budgets has them.
    """

    version: str = "1"
    timeout_ms: int | None = None
    tags: tuple[str, ...] = ()
    forked_from: str | None = None
    budget: tuple[tuple[str, int, int | None, float | None, int], ...] = ()


@dataclass(slots=True)
class Message:
    """One row to be, as a producer hands it to `Storage.enqueue`.

    `payload` is JSON, `[args, kwargs]`. `options` is a JSON object or None: headers, time limits, all that only the
    executing side reads. `due_ms` None means now. `delay_ms`, a countdown, counts from the moment a blocked row is
    unblocked; of any other row it is how far `due_ms` was ahead at the call: it never is by more, whatever becomes of
    the clock. `awaits` is the id of a message or a group; such a row is blocked until that has finished.
    `run` says more of one with Flag.RUN; None there means an untagged run of version "1". `keys` is a JSON array: the
    fair key or null, then the keys of its limits, but for those of its task and its queue; None for no key.
    `unique` says more of one with a `unique_key`; None there means that an unfinished message holds the key.
    `tags`, with Flag.TAGGED: words by which a search finds it; a run's are in its `run`.
    """

    id: str
    task: str
    payload: bytes
    queue: str = DEFAULT_QUEUE
    priority: int = 0
    due_ms: int | None = None
    expires_ms: int | None = None
    options: bytes | None = None
    unique_key: str | None = None
    root_id: str | None = None
    parent_id: str | None = None
    awaits: str | None = None
    group_id: str | None = None
    position: int = 0
    flags: int = 0
    delay_ms: int | None = None
    run: RunSpec | None = None
    keys: str | None = None
    unique: Exclusion | None = None
    tags: tuple[str, ...] = ()


@dataclass(slots=True)
class Group:
    """A counter: `size` members, messages or groups, of which none has finished yet.

    Its result is the list of its members' results in the order of their `position`. `group_id`, `position`: the group
    that this one is itself a member of. Never empty: an empty group is compiled away.
    """

    id: str
    size: int
    group_id: str | None = None
    position: int = 0
    root_id: str | None = None


@dataclass(slots=True)
class Batch:
    """Rows that are written in one transaction, or not at all: one message, or a whole canvas."""

    messages: list[Message] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    closing: Sequence[tuple[str, int | None]] = ()  # open groups that are whole with it: id, size (`Groups.enter`)

    def nodes(self) -> list[Message | Group]:
        """The messages, then the groups."""
        return [*self.messages, *self.groups]

    def stands(self, ids: Sequence[str]) -> dict[str, str]:
        """The nodes for which others stand, by id; `ids`: those that stand in the file, in the order of `nodes()`."""
        return {node.id: id_ for node, id_ in zip(self.nodes(), ids, strict=True) if node.id != id_}


class Lease(NamedTuple):
    """A message in a worker's hands. The order is that of claim's SELECT; `input` is filled in after it.

    `token` is the fencing token: monotonic over the file, never reused, carried by each later write. `run`: of one with
    Flag.RUN the fields of its `RunFacts`, with Flag.BATCH its members, as plain tuples for a pipe; else None.
    `reaps`: how often a worker has vanished with it.
    """

    seq: int
    token: int
    id: str
    task: str
    payload: bytes
    options: bytes | None
    queue: str
    priority: int
    due_ms: int
    expires_ms: int | None
    retries: int
    crashes: int
    flags: int
    root_id: str | None
    parent_id: str | None
    group_id: str | None
    awaits: str | None
    input: bytes | None = None
    run: tuple[Any, ...] | None = None
    reaps: int = 0


class RunFacts(NamedTuple):
    """The state of a run at its claim (`Lease.run`) or at a later look. Times are ms since the epoch.

    `gen` goes up with each `continue_as_new`. `started_ms`: the first activation of this run; of the current `gen`:
    `gen_ms`. `deadline_ms`: it has failed by then. `asked`: None, "cancel", "pause" or "timeout", to be obeyed now,
    with its `reason`. `marks`: the ids for which `patched` was true, a JSON array, of those that no step row holds.
    `ends`, `fails`: how many children have ended so far, and how many of them did not succeed (`Suspend.seen`).
    `compensated`: 1 once a compensation has run. `seed`: the id of the run that this one was forked from at first: what
    is derived from an id is derived from that one; None: from its own. `spending`: 2 where there are budgets,
    1 where something was spent, else 0.
    """

    version: str
    gen: int
    started_ms: int | None
    gen_ms: int | None
    deadline_ms: int | None
    asked: str | None
    reason: str
    marks: bytes | None
    ends: int
    fails: int
    compensated: int
    seed: str | None = None
    spending: int = 0


class Hold(NamedTuple):
    """The lease under which a process writes for a run: its row number, fencing token, and generation."""

    run: int
    token: int
    gen: int = 0


class StepRow(NamedTuple):
    """One call of a body, as its row in liteq_steps. (`scope`, `pos`) is its place in the run's generation.

    `kind`: step call spawn map sleep event approval timer send start. `output` and `error` are JSON; it is open while
    `ended_ms` is None. Ended with neither: a sleep that is over, or a wait that timed out. `attempts`: those that
    failed or, of one that ended, all; of an approval, the reminders. `due_ms`: the end of a sleep or of a wait's
    patience, the next attempt of a step.
    `waited`: while it waits for something by name, "event NAME", "approval TITLE", "memo KEY", "limit KEY".
    `child`: the message whose end ends it. `ended`: the order in which a run's waits ended, from 1. `memo`: 1 where
    a memo answered it. `marks`: the ids (JSON array) for which `patched` was true since the write before.
    `details`: JSON of an approval's request. `started_ms`, `ended_ms`: times in ms since the epoch.
    """

    scope: str
    pos: int
    kind: str
    name: str
    key: str | None = None
    arghash: bytes | None = None
    attempts: int = 0
    output: bytes | None = None
    error: bytes | None = None
    child: str | None = None
    due_ms: int | None = None
    waited: str | None = None
    ended: int | None = None
    memo: int = 0
    marks: bytes | None = None
    details: bytes | None = None
    started_ms: int = 0
    ended_ms: int | None = None


Ran = tuple[int, float]  # when an execution began, in ms since the epoch, and for how many seconds it ran


@dataclass(slots=True)
class Ack:
    """It returned. `result` is JSON, None where the result is not kept. `ran`: as its pool noted it; of all other
    outcomes, which are rarer, a pool keeps that apart (`Pool.timings`). `children`: JSON, the results that its body has
    made, for who asks for them (`Reader.children`); a result that is not kept has none.
    """

    result: bytes | None = None
    ran: Ran | None = None
    children: bytes | None = None


@dataclass(slots=True)
class RetryAt:
    """It is to run again at `due_ms`; the rest are the changes of `retry(args=..., queue=...)`, None: no change.

    `delay_ms`: its countdown, which `due_ms` is of; None for a time that was named. The clock may be set on the way: it
    is due no later than so long after it was settled. `cause`: a Cause as a plain tuple, as it goes over a pipe.
    `keys`: as of Message, "" for none. `task`, `retries`: it is another message under its id from now on, with these;
    `retries` None: one more. `awaits`: it is blocked until that message or group, by which it replaces itself, has
    succeeded; whose result becomes its first argument if it `takes_input`.
    """

    due_ms: int
    error: bytes | None = None
    payload: bytes | None = None
    options: bytes | None = None
    queue: str | None = None
    priority: int | None = None
    expires_ms: int | None = None
    delay_ms: int | None = None
    cause: tuple[str, ...] | None = None
    keys: str | None = None
    task: str | None = None
    retries: int | None = None
    awaits: str | None = None
    takes_input: bool = True


@dataclass(slots=True)
class DeadLetter:
    """It failed for good. `error` is the JSON document of `serialization.encode_error`; `cause` as of RetryAt."""

    error: bytes
    cause: tuple[str, ...] | None = None


@dataclass(slots=True)
class Release:
    """Back in the queue as it was. `crashed`: the child that ran it died; past `max_crashes` it is a dead letter.

    `pause_ms`: handed back by a worker that cannot run it now, to be taken after so long, with these `options`.
    `elsewhere`: nor will it later. Others may take it after the pause, and this worker only if none of them does.
    """

    crashed: bool = False
    error: bytes | None = None
    pause_ms: int | None = None
    options: bytes | None = None
    elsewhere: bool = False


@dataclass(slots=True)
class Cancel:
    """It will not run: revoked, expired, or it asked to be ignored."""

    error: bytes | None = None


@dataclass(slots=True)
class Replace:
    """`batch` takes its place: the message finishes as the row or group `awaits` (in `batch`) finishes."""

    batch: Batch
    awaits: str


@dataclass(slots=True)
class Suspend:
    """A run waits: it is woken when `due_ms` has come, when `need` more of its children have ended (0: it waits for
    none), when one fails (`fragile`), when what one of `rows` waits for comes, or when it is asked for something.

    `rows` are the open waits that are new, and steps whose attempt has failed; they are written with it. `seen`: the
    (ends, fails) of the RunFacts or the history that decided this. `marks`: as a step's, where no row takes them.
    Settling looks again whether something has come meanwhile: then the run goes on at once.
    """

    rows: list[StepRow] = field(default_factory=list)
    due_ms: int | None = None
    need: int = 0
    seen: tuple[int, int] = (0, 0)
    fragile: bool = False
    marks: bytes | None = None


@dataclass(slots=True)
class ContinueAsNew:
    """A run begins anew under its id, with `payload` as its arguments and no history; undelivered events stay."""

    payload: bytes


@dataclass(slots=True)
class Park:
    """A run stops until an operator, or a worker of other code, takes it up: `state` is "stuck" or "paused".

    `error`: why it is stuck, JSON. `fingerprint`: of the code that could not go on with it, which does not try it again
    by itself. `progressed`: it has recorded something in this activation, so other code may try it again.
    """

    state: str
    error: bytes | None = None
    fingerprint: str | None = None
    progressed: bool = False


@dataclass(slots=True)
class Limited:
    """It met a limit outside: its key is paused for `pause_ms` milliseconds, for all workers, and it is held.

    `key`: None for the first of its own; without one it alone is put off. No attempt is counted. `error`: JSON.
    """

    pause_ms: int
    key: str | None = None
    error: bytes | None = None


Outcome = Ack | RetryAt | DeadLetter | Release | Cancel | Replace | Suspend | ContinueAsNew | Park | Limited


@dataclass(slots=True)
class WorkerIdentity:
    """The identity of a worker process, by which others can tell whether it still lives.

    `boot` is the boot id and PID namespace it lives in: where both equal one's own, `pid` and `started` (the kernel's
    start time of that PID, in clock ticks) can be checked; where the host is the same and the boot is not, it is dead.
    """

    uuid: str
    name: str
    host: str
    boot: str
    pid: int
    started: str
