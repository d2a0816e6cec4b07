"""The queue in plain Python: what a file must hold after each verb. It knows nothing of SQL, locks or batches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from liteq.message import Ack, Batch, Cancel, DeadLetter, Flag, Outcome, Release, RetryAt
from liteq.states import FINISHED, UNFINISHED, State

__all__ = ["Model", "Row"]

BLOCKED, PENDING, SCHEDULED, LEASED = State.BLOCKED, State.PENDING, State.SCHEDULED, State.LEASED
SUCCEEDED, DEAD, CANCELLED, UPSTREAM_FAILED = State.SUCCEEDED, State.DEAD, State.CANCELLED, State.UPSTREAM_FAILED
GONE = frozenset({SUCCEEDED, CANCELLED})  # the states in which a follower needs nothing any more


@dataclass
class Row:
    """A message."""

    id: str
    seq: int
    state: State
    priority: int
    due_ms: int
    delay_ms: int | None
    awaits: str | None
    group: str | None
    flags: int
    unique_key: str | None
    token: int = 0
    worker: int = 0
    deadline_ms: int = 0
    retries: int = 0
    crashes: int = 0
    reaps: int = 0
    finished_ms: int | None = None

    @property
    def seen(self) -> tuple[object, ...]:
        """What is compared with the file."""
        deadline_ms = self.deadline_ms if self.state is LEASED else None
        return (self.state.value, self.retries, self.crashes, self.reaps, self.due_ms, deadline_ms)


@dataclass
class Counter:
    """A group."""

    remaining: int
    group: str | None
    failed: int = 0
    finished_ms: int | None = None


@dataclass
class Model:
    """One method per verb, of the same meaning; `now_ms` is set by whoever moves the clock."""

    now_ms: int
    max_crashes: int = 3
    max_reaps: int = 10
    rows: dict[str, Row] = field(default_factory=dict)
    groups: dict[str, Counter] = field(default_factory=dict)
    token: int = 0
    seq: int = 0

    # -- producers ---------------------------------------------------------------------------------------------------

    def enqueue(self, batch: Batch) -> list[str]:
        for g in batch.groups:
            self.groups.setdefault(g.id, Counter(g.size, g.group_id))
        return [self._add(m) for m in batch.messages]

    def _add(self, m: object) -> str:
        id_: str = m.id  # type: ignore[attr-defined]
        holder = self._holder(m.unique_key)  # type: ignore[attr-defined]
        if holder is not None:
            return holder.id
        if id_ not in self.rows:
            self.seq += 1
            due_ms: int | None = m.due_ms  # type: ignore[attr-defined]
            state = PENDING
            if m.awaits is not None:  # type: ignore[attr-defined]
                state = BLOCKED
            elif due_ms is not None and due_ms > self.now_ms:
                state = SCHEDULED
            due = self.now_ms if due_ms is None else due_ms
            self.rows[id_] = Row(
                id_, self.seq, state, m.priority, due, m.delay_ms, m.awaits, m.group_id, m.flags, m.unique_key,  # type: ignore[attr-defined]
            )  # fmt: skip
        return id_

    def _holder(self, key: str | None) -> Row | None:
        if key is None:
            return None
        return next((r for r in self.rows.values() if r.unique_key == key and r.state in UNFINISHED), None)

    def cancel(self, ids: Iterable[str]) -> None:
        for id_ in ids:
            row = self.rows.get(id_)
            if row is not None and row.state in {SCHEDULED, BLOCKED, PENDING}:
                self._end(row, CANCELLED)

    def replay(self, ids: Iterable[str]) -> None:
        for id_ in ids:
            row = self.rows.get(id_)
            if row is None or row.state is not DEAD or self._holder(row.unique_key) is not None:
                continue
            row.state, row.due_ms, row.finished_ms = PENDING, self.now_ms, None
            row.retries = row.crashes = row.reaps = 0
            self._revive(row.id, row.group)

    def _revive(self, id_: str, group: str | None) -> None:
        for row in self._waiting_for(id_, UPSTREAM_FAILED):
            row.state, row.finished_ms = BLOCKED, None
            self._revive(row.id, row.group)
        counter = self.groups.get(group or "")
        if counter is not None:
            counter.remaining, counter.failed, counter.finished_ms = counter.remaining + 1, counter.failed - 1, None
            if counter.remaining == 1:
                self._revive(group or "", counter.group)

    # -- workers -----------------------------------------------------------------------------------------------------

    def claim(self, worker: int, limit: int, visibility_ms: int) -> list[str]:
        """The ids of what is leased, in order; the tokens, of which only the order is promised, come by `grant`."""
        for row in self.rows.values():
            if row.state is SCHEDULED and row.due_ms <= self.now_ms:
                row.state = PENDING
        ready = sorted(
            (r for r in self.rows.values() if r.state is PENDING), key=lambda r: (-r.priority, r.due_ms, r.seq)
        )[:limit]
        for row in ready:
            row.state, row.token, row.worker = LEASED, -1, worker
            row.deadline_ms = self.now_ms + visibility_ms
        return [r.id for r in ready]

    def grant(self, tokens: dict[str, int]) -> bool:
        """Note the tokens that one claim gave; False unless all are higher than every one before, and differ."""
        for id_, token in tokens.items():
            self.rows[id_].token = token
        fresh = min(tokens.values()) > self.token and len(set(tokens.values())) == len(tokens)
        self.token = max(self.token, *tokens.values())
        return fresh

    def settle(self, settled: Iterable[tuple[str, int, Outcome]]) -> set[str]:
        """The ids whose lease was lost."""
        held, lost = [], set()
        for id_, token, outcome in settled:
            row = self.rows.get(id_)
            if row is None or row.state is not LEASED or row.token != token:
                lost.add(id_)
            else:
                held.append((row, outcome))
        # All of a batch is written before any of it has effects elsewhere.
        for row, outcome in held:
            self._write(row, outcome)
        for row, outcome in held:
            if row.state in FINISHED:
                self._finish(row.id, row.group, ok=row.state is SUCCEEDED, linked=bool(row.flags & Flag.LINKED))
            if isinstance(outcome, Ack) and outcome.result is None and not row.flags & Flag.LINKED:
                del self.rows[row.id]
        return lost

    def _write(self, row: Row, outcome: Outcome) -> None:
        match outcome:
            case Ack():
                self._close(row, SUCCEEDED)
            case RetryAt(due_ms):
                row.state = SCHEDULED if due_ms > self.now_ms else PENDING
                row.due_ms, row.retries = due_ms, row.retries + 1
            case DeadLetter():
                self._close(row, DEAD)
            case Cancel():
                self._close(row, CANCELLED)
            case Release(crashed) if crashed:
                if row.crashes + 1 < self.max_crashes and not row.flags & Flag.EARLY_ACK:
                    row.state, row.crashes = PENDING, row.crashes + 1
                else:
                    self._close(row, DEAD)
            case Release():
                row.state = PENDING
            case _:
                raise NotImplementedError(outcome)

    def extend(self, held: Iterable[tuple[str, int]], visibility_ms: int) -> set[str]:
        """The ids whose lease was lost."""
        lost = set()
        for id_, token in held:
            row = self.rows.get(id_)
            if row is None or row.state is not LEASED or row.token != token:
                lost.add(id_)
            else:
                row.deadline_ms = self.now_ms + visibility_ms
        return lost

    def reap(self, dead_workers: Iterable[int]) -> None:
        dead = set(dead_workers)
        for row in list(self.rows.values()):
            if row.state is LEASED and (row.deadline_ms <= self.now_ms or row.worker in dead):
                row.reaps += 1
                if row.reaps < self.max_reaps and not row.flags & Flag.EARLY_ACK:
                    row.state = PENDING
                else:
                    self._end(row, DEAD)

    def may_expire(self, id_: str, before_ms: int, dead_before_ms: int) -> bool:
        """Whether nobody can miss this message any more."""
        row = self.rows[id_]
        if row.finished_ms is None or row.finished_ms > (before_ms if row.state in GONE else dead_before_ms):
            return False
        if row.state is DEAD:
            return True
        return all(r.state in GONE for r in self.rows.values() if r.awaits == id_)

    # -- the graph ---------------------------------------------------------------------------------------------------

    def _close(self, row: Row, state: State) -> None:
        row.state, row.finished_ms = state, self.now_ms

    def _end(self, row: Row, state: State) -> None:
        self._close(row, state)
        self._finish(row.id, row.group, ok=state is SUCCEEDED, linked=bool(row.flags & Flag.LINKED))

    def _waiting_for(self, id_: str, state: State) -> list[Row]:
        return [r for r in self.rows.values() if r.awaits == id_ and r.state is state]

    def _finish(self, id_: str, group: str | None, *, ok: bool, linked: bool = True, errbacks: bool = True) -> None:
        """A message or a group has ended: the followers of a success run; of a failure, its errbacks do."""
        if not linked:
            return
        waiting = self._waiting_for(id_, BLOCKED)
        for row in waiting:
            if row.flags & Flag.ON_FAILURE:
                if not ok and errbacks:
                    self._unblock(row)
                else:
                    self._vanish(row)
            elif ok:
                self._unblock(row)
            else:
                self._close(row, UPSTREAM_FAILED)
                self._finish(row.id, row.group, ok=False, errbacks=errbacks and id_ in self.groups)
        counter = self.groups.get(group or "")
        if counter is not None:
            counter.remaining -= 1
            counter.failed += not ok
            if counter.remaining == 0:
                counter.finished_ms = self.now_ms
                self._finish(group or "", counter.group, ok=counter.failed == 0)

    def _unblock(self, row: Row) -> None:
        later = row.due_ms > self.now_ms or (row.delay_ms or 0) > 0
        row.due_ms = max(row.due_ms, self.now_ms + (row.delay_ms or 0))
        row.state = SCHEDULED if later else PENDING

    def _vanish(self, row: Row) -> None:
        self.rows.pop(row.id, None)
        for follower in self._waiting_for(row.id, BLOCKED):
            self._vanish(follower)
