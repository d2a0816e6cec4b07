"""The queue in plain Python: what a file must hold after each verb. It knows nothing of SQL, locks or batches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from liteq.message import Ack, Batch, Cancel, DeadLetter, Flag, Message, Outcome, Release, RetryAt
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
    late_key: str | None = None
    kept: bool = False
    alias: bool = False
    begun: bool = False
    token: int = 0
    worker: int = 0
    deadline_ms: int = 0
    retries: int = 0
    crashes: int = 0
    reaps: int = 0
    finished_ms: int | None = None
    created_ms: int = 0

    @property
    def seen(self) -> tuple[object, ...]:
        """The part that is compared with the file."""
        deadline_ms = self.deadline_ms if self.state is LEASED else None
        begun = self.state is LEASED and self.begun and bool(self.flags & Flag.EARLY_ACK)
        return (self.state.value, self.retries, self.crashes, self.reaps, self.due_ms, deadline_ms, begun)


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
    copies: list[str] = field(default_factory=list)  # provisional ids

    # -- producers ---------------------------------------------------------------------------------------------------

    def enqueue(self, batch: Batch) -> list[str]:
        """A part of a canvas whose key is held follows the holder; a call is not written, and the holder's id told."""
        ids = [node.id for node in batch.nodes()]
        if any(m.id in self.rows for m in batch.messages):
            return ids  # the canvas that is there
        plain = len(batch.messages) == 1 and not batch.groups
        if plain and (holder := self._holder(batch.messages[0].unique_key)) is not None:
            return [holder.id]
        for g in batch.groups:
            self.groups[g.id] = Counter(g.size, g.group_id)
        perhaps: set[str] = set()  # errbacks, and what stands behind them
        for m in batch.messages:
            row = self._add(m)
            if m.flags & Flag.ON_FAILURE or m.awaits in perhaps:
                perhaps.add(m.id)
                row.late_key, row.unique_key, row.kept = m.unique_key, None, True
            else:
                self._take(row, m.unique_key)
        return ids

    def _add(self, m: Message) -> Row:
        self.seq += 1
        state = PENDING
        if m.awaits is not None:
            state = BLOCKED
        elif m.due_ms is not None and m.due_ms > self.now_ms:
            state = SCHEDULED
        due = self.now_ms if m.due_ms is None else m.due_ms
        row = Row(m.id, self.seq, state, m.priority, due, m.delay_ms, m.awaits, m.group_id, m.flags, None)
        row.created_ms = self.now_ms
        self.rows[m.id] = row
        return row

    def _take(self, row: Row, key: str | None) -> bool:
        """Give `row` its key, or let it follow who has it; False then."""
        holder = self._holder(key)
        if holder is None:
            row.unique_key = key
            return True
        holder.flags |= Flag.LINKED
        row.state, row.awaits, row.alias = BLOCKED, holder.id, True
        row.flags &= ~(Flag.ON_FAILURE | Flag.TAKES_INPUT)
        return False

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
            row.retries, row.crashes, row.reaps, row.begun, row.delay_ms = 0, 0, 0, False, None
            self._revive(row.id, row.group)

    def _revive(self, id_: str, group: str | None) -> None:
        self._rearm(id_)
        for row in self._waiting_for(id_, UPSTREAM_FAILED):
            key, row.unique_key = row.unique_key, None
            row.state, row.finished_ms = BLOCKED, None
            self._take(row, key)
            self._revive(row.id, row.group)
        counter = self.groups.get(group or "")
        if counter is not None:
            counter.remaining, counter.failed, counter.finished_ms = counter.remaining + 1, counter.failed - 1, None
            if counter.remaining == 1:
                self._revive(group or "", counter.group)

    def _rearm(self, id_: str) -> None:
        """An errback that has run stays as it ended, and a copy of it, and of what stands behind it, waits."""
        for first in [r for r in self.rows.values() if r.awaits == id_ and r.flags & Flag.ON_FAILURE and not r.alias]:
            if first.state is UPSTREAM_FAILED:  # it has not run, and waits again itself
                continue
            canvas = [first]
            for row in canvas:
                canvas += [r for r in self.rows.values() if r.awaits == row.id and not r.alias]
            if any(row.state in UNFINISHED for row in canvas):
                continue
            names = {row.id: f"copy {len(self.copies) + i}" for i, row in enumerate(canvas)}
            for row in sorted(canvas, key=lambda row: row.seq):
                self.seq += 1
                self.copies.append(names[row.id])
                named = row.state is UPSTREAM_FAILED and row.due_ms > row.created_ms  # a time that has not come
                self.rows[names[row.id]] = replace(
                    row, id=names[row.id], seq=self.seq, state=BLOCKED, awaits=names.get(row.awaits or "", row.awaits),
                    unique_key=None, token=0, worker=0, retries=0, crashes=0, reaps=0, begun=False, finished_ms=None,
                    due_ms=row.due_ms if named else self.now_ms, created_ms=self.now_ms,
                    delay_ms=None if row.retries else row.delay_ms,
                )  # fmt: skip
            first.awaits = None

    def rename(self, names: dict[str, str]) -> None:
        """Let copies have the ids that they have in the file."""
        for row in [self.rows.pop(id_) for id_ in names]:
            row.id = names[row.id]
            self.rows[row.id] = row
        for row in self.rows.values():
            row.awaits = names.get(row.awaits or "", row.awaits)

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
            if isinstance(outcome, Ack) and outcome.result is None and not row.flags & Flag.LINKED and not row.kept:
                del self.rows[row.id]
        return lost

    def _write(self, row: Row, outcome: Outcome) -> None:
        match outcome:
            case Ack():
                self._close(row, SUCCEEDED)
            case RetryAt(due_ms):
                row.state, row.begun = SCHEDULED if due_ms > self.now_ms else PENDING, False
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
                row.state, row.begun = PENDING, False
            case _:
                raise NotImplementedError(outcome)

    def begin(self, id_: str, token: int) -> bool:
        row = self.rows.get(id_)
        if row is None or row.state is not LEASED or row.token != token:
            return False
        row.begun = True
        return True

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
                if row.reaps < self.max_reaps and not (row.flags & Flag.EARLY_ACK and row.begun):
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
                if ok:
                    self._vanish(row)
                elif errbacks:
                    self._unblock(row)
                else:
                    self._close(row, UPSTREAM_FAILED)
                    self._finish(row.id, row.group, ok=False, errbacks=False)
            elif ok and row.alias:
                self._end(row, SUCCEEDED)
            elif ok:
                self._unblock(row)
            else:
                self._close(row, UPSTREAM_FAILED)
                self._finish(row.id, row.group, ok=False, errbacks=errbacks and (row.alias or id_ in self.groups))
        counter = self.groups.get(group or "")
        if counter is not None:
            counter.remaining -= 1
            counter.failed += not ok
            if counter.remaining == 0:
                counter.finished_ms = self.now_ms
                self._finish(group or "", counter.group, ok=counter.failed == 0)

    def _unblock(self, row: Row) -> None:
        if row.late_key is not None and not self._take(row, row.late_key):
            return
        later = row.due_ms > self.now_ms or (row.delay_ms or 0) > 0
        row.due_ms = max(row.due_ms, self.now_ms + (row.delay_ms or 0))
        row.state = SCHEDULED if later else PENDING

    def _vanish(self, row: Row) -> None:
        self.rows.pop(row.id, None)
        for follower in self._waiting_for(row.id, BLOCKED):
            self._vanish(follower)
