"""The verb *claim* under limits: what lacks a place or a token under one of its keys leaves the claimable set, once.

    pending --(a key lacks something)--> held --(it is there)--> leased

The first step happens when a claim meets the message at the head of its queue, and for those behind it that are alike.
The second happens when a place is free, or at the time at which a token is there. A row of limits/lines.py says when
that is, and no claim looks at held messages before. A message has all of its keys or none. Candidates go by priority,
then by the time they were due, but for the keys that take turns.

A worker's own rates (`Budget`) hold back by themselves, in lines of their own that no limit wakes (rates.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from liteq.message import Flag, Lease
from liteq.policy.keyed import NOT_YET
from liteq.storage.claiming import claim as _claim
from liteq.storage.claiming import rates
from liteq.storage.claiming.claim import NOTHING, Claimed, again, flags_of, lease_found, promote, with_input
from liteq.storage.claiming.pauses import PAUSED_QUEUE
from liteq.storage.claiming.rates import Budget
from liteq.storage.driver import SKIP_LOCKED, Row, Transaction
from liteq.storage.limits import lines, places
from liteq.storage.limits.keys import lock
from liteq.storage.limits.ledger import Lack, Ledger, parsed
from liteq.storage.limits.rules import BEGUN, FAIR, OWN, Cache, Rules
from liteq.storage.limits.sources import PROBES, Rounds, Source
from liteq.storage.rows import payloads
from liteq.storage.sending import unique

__all__ = ["NOTHING", "claim", "worth_it"]

# In the columns of a claim's own statement, with the keys in the place of the time that comes next.
PENDING = f"""
SELECT seq, coalesce(token, 0), id, task, payload, options, queue, priority, due_ms, expires_ms, retries, crashes,
       flags, root_id, parent_id, group_id, awaits, NULL, NULL, reaps, keys, 0, 0
  FROM liteq_messages
 WHERE state = 'pending' AND queue = :queue
 ORDER BY priority DESC, due_ms, seq
 LIMIT :limit {SKIP_LOCKED}
"""
HOLD = "UPDATE liteq_messages SET state = 'held', held_by = ? WHERE seq = ?"
KEEP_KEYS = "UPDATE liteq_messages SET keys = ? WHERE seq = ?"
# Of a queue: whether it is paused, whether a line of it may start, and when another may.
QUEUE = f"""
SELECT {PAUSED_QUEUE},
       EXISTS (SELECT 1 FROM liteq_lines WHERE waits IS NULL AND queue = :queue),
       (SELECT min(at) FROM liteq_wakes WHERE queue = :queue AND at IS NOT NULL)
"""
# ... and all else that a claim wants to know before it looks at messages.
LOOK = f"""
{QUEUE.rstrip()},
       (SELECT min(due_ms) FROM liteq_messages WHERE state = 'scheduled'),
       (SELECT coalesce(max(id), 0) FROM liteq_commands), (SELECT value FROM liteq_meta WHERE key = 'limits')
"""

SEQ, TASK, PRIORITY, DUE, FLAGS, KEYS = 0, 3, 7, 8, 12, -3  # columns
PAGE: Final = 500  # messages that are read in one go once a claim meets one that lacks something: most are alike
MOST: Final = 2_000  # ... and in one transaction: other writers get their turn in between
SOURCES: Final = 64  # keys for which it is time, looked at in one claim
PROBE_MS: Final = 250  # what is left of a key with many lines that lack others is looked at after so long


class _Claim:
    """One claim: what it has chosen, and what it has found to be over a limit."""

    def __init__(self, tx: Transaction, rules: Rules, budget: Budget | None, want: int, now_ms: int) -> None:
        self.tx, self.want, self.now_ms = tx, want, now_ms
        self.chosen: list[Row] = []
        self.taken: set[int] = set()
        self.full = False  # there is more to be held than one transaction may
        self.timed = self.changed = False
        self.rules = rules
        self.ledger = Ledger(tx, rules, now_ms)
        self.rounds = Rounds(tx)
        self._budget = budget
        self._own: dict[str, float] = {}
        self._slots: list[tuple[int, list[str]]] = []
        self._held = 0
        self._entered: set[tuple[str, str, int]] = set()
        self._waits: set[tuple[str, str]] = set()

    # -- one queue ---------------------------------------------------------------------------------------------------

    def choose(self, queue: str, *, held: bool) -> None:
        """Choose from `queue` until there is no room, or nothing that may start; `held`: some that is held may."""
        sources = self._sources(queue) if held else []
        pending = _Pending(self, queue, plainly=not sources and self._budget is None)
        heads = [source.head() for source in sources]
        while self.want > 0:
            best = self._best(queue, sources, heads) if sources else None
            row = pending.head()
            if self.want <= 0:
                break
            if row is not None and (best is None or _place(row) < _place(heads[best])):
                pending.take()
            elif best is not None:
                heads[best] = sources[best].head() if self._serve(sources[best], queue) else None
            else:
                break
        pending.finish()
        for source in sources:
            self._look_on(source, queue)
        for source, head in zip(sources, heads, strict=True):
            if source.waits is not None:
                self._close(source, source.waits, queue, head)

    def _sources(self, queue: str) -> list[Source]:
        due = lines.due(self.tx, queue, now_ms=self.now_ms, limit=SOURCES)
        self.changed = True
        return [Source(self.tx, queue, key, self.rounds, self.want, self.taken) for key in (None, *due)]

    def _best(self, queue: str, sources: Sequence[Source], heads: Sequence[Row | None]) -> int | None:
        """The source whose head starts next: of the keys that take turns the one whose turn it is, then by time."""
        fair: list[tuple[int, int, int]] = []
        found: list[int] = []
        for i, source in enumerate(sources):
            if heads[i] is None:
                continue
            line = source.line
            if line.key.startswith(FAIR):
                fair.append((-line.priority, max(line.turn, self.rounds.now(queue, line.priority)), i))
            else:
                found.append(i)
        if fair:
            found.append(min(fair, key=lambda one: (*one[:2], _place(heads[one[2]])))[2])
        return min(found, key=lambda i: _place(heads[i]), default=None)

    def _serve(self, source: Source, queue: str) -> bool:
        """Take the head of `source` if it lacks nothing; False where the source has nothing more to give."""
        row = source.line.heads[-1]
        keys = self.ledger.keys_of(row[TASK], queue, parsed(row[KEYS]).limits)
        begun = row[FLAGS] & Flag.HISTORY
        lack = self.ledger.lack(keys, begun=begun, first=source.waits)
        if lack is None:
            self._start(source, keys, begun)
            return True
        if lack.key == source.waits:
            source.lack = lack
            return lack.token and source.only_begun()
        self._wait_for(lack, queue)
        return source.move(lack.key)

    def _start(self, source: Source, keys: Sequence[str], begun: int) -> None:
        """Take the head of `source`, of which no limit lacks anything, as it is now; it may have left its line."""
        row = lines.head(self.tx, source.line.heads[-1][SEQ], source.line.key)
        if row is not None and (begun or self._has_own(row[TASK])):
            self.take(row, keys, begun)
            source.served()
            return
        if row is not None:
            self.tx.executemany(HOLD, [(OWN + row[TASK], row[SEQ])])
        source.skip()

    def _look_on(self, source: Source, queue: str) -> None:
        """Have the lines of `source` that were served wait for what their new heads lack."""
        for line in source.strays():
            row = line.heads[-1]
            keys = self.ledger.keys_of(row[TASK], queue, parsed(row[KEYS]).limits)
            lack = self.ledger.lack(keys, begun=row[FLAGS] & Flag.HISTORY, first=source.waits)
            if lack is None or lack.key != source.waits:
                lines.move(self.tx, line.key, queue, line.priority, None if lack is None else lack.key)
                if lack is not None:
                    self._wait_for(lack, queue)

    def _close(self, source: Source, key: str, queue: str, head: Row | None) -> None:
        """Note when `source` is looked at next; where more of it may start, at once."""
        lack = source.lack or self.ledger.lack((key,))
        empty = head is None and source.lack is None and source.probes < PROBES and (key, queue) not in self._waits
        if empty:
            lines.closed(self.tx, key, queue, None, empty=True)
        elif lack is not None:
            lines.closed(self.tx, key, queue, lack.at_ms)
            self.timed |= lack.at_ms is not None
        elif head is None and source.probes >= PROBES:
            lines.closed(self.tx, key, queue, self.now_ms + PROBE_MS)

    # -- what becomes of a message -----------------------------------------------------------------------------------

    def take(self, row: Row, keys: Sequence[str], begun: int) -> None:
        """Choose a message that lacks nothing, with its places and tokens."""
        placed = self.ledger.take(keys, begun=begun) if keys else ()
        self.taken.add(row[SEQ])
        if placed:
            row = (*row[:FLAGS], row[FLAGS] | Flag.PLACED, *row[FLAGS + 1 :])
            self._slots.append((len(self.chosen), placed))
        self.chosen.append(row)
        self.want -= 1
        if not begun and row[TASK] in self._own:
            self._own[row[TASK]] -= 1

    def judge(self, row: Row, queue: str) -> tuple[str, Lack | None] | None:
        """Take a pending message that lacks nothing, None then; else the line that it is held in, and what it lacks."""
        text = row[KEYS] if self._budget is None else self._keys(row, self._budget)
        needed, begun = self.rules.implied(row[TASK], queue), row[FLAGS] & Flag.HISTORY
        if text is not None:
            found = parsed(text)
            if found.fair is not None:
                return lines.fair_line(queue, found.fair), None
            needed += found.limits
        lack = self.ledger.lack(needed, begun=begun) if needed else None
        if lack is not None:
            return BEGUN + lack.key if begun else lack.key, lack
        if not begun and not self._has_own(row[TASK]):
            return OWN + row[TASK], None
        self.take(row, needed, begun)
        return None

    def _keys(self, row: Row, budget: Budget) -> str | None:
        """The keys of a message; one that was sent without its code gets them now."""
        before: str | None = row[KEYS]
        if budget.keys_of is None or row[TASK] not in budget.keyed or before not in {None, NOT_YET}:
            return before
        lease = Lease._make(row[:KEYS])
        lease = lease._replace(payload=payloads.of_row(self.tx, lease.seq, lease.payload))
        keys = budget.keys_of(with_input(self.tx, lease))
        if keys != before:
            self.tx.executemany(KEEP_KEYS, [(keys, row[SEQ])])
            lines.matter(self.tx)
        return keys

    def _has_own(self, task: str) -> bool:
        """Whether this worker's own rate leaves a token for one more of `task`."""
        if self._budget is None:
            return True
        if task not in self._own:
            self._own[task] = self._budget.left(task)
        return self._own[task] >= 1

    def hold(self, held: Sequence[tuple[Row, str, Lack | None]], queue: str) -> None:
        """Move messages out of the claimable set, each into its line."""
        self.tx.executemany(HOLD, [(line, row[SEQ]) for row, line, _ in held])
        self._held += len(held)
        self.full = self.full or self._held >= MOST
        for row, line, lack in held:
            at = (line, queue, row[PRIORITY])
            if at not in self._entered and not line.startswith(OWN):
                self._entered.add(at)
                lines.enter(self.tx, *at, waits=None if lack is None else lack.key)
                self.changed = True
            if lack is not None:
                self._wait_for(lack, queue)

    def _wait_for(self, lack: Lack, queue: str) -> None:
        """Have what lacks something looked at when it is there."""
        if (lack.key, queue) not in self._waits:
            self._waits.add((lack.key, queue))
            lines.wake(self.tx, lack.key, queue, lack.at_ms)
            self.timed |= lack.at_ms is not None
            self.changed = True

    def write(self, leases: Sequence[Lease]) -> None:
        """Write what was taken, and whose turn is next."""
        if self._slots:
            placed = [(key, leases[i].seq, leases[i].token, self.now_ms) for i, keys in self._slots for key in keys]
            places.take(self.tx, placed)
        self.ledger.write()
        self.rounds.write()


class _Pending:
    """The pending messages of one queue, page by page; those over a limit are held."""

    def __init__(self, claim: _Claim, queue: str, *, plainly: bool) -> None:
        self._claim, self._queue, self._plainly = claim, queue, plainly
        self._rows: list[Row] = []
        self._page = claim.want
        self._end = False
        self._taken = self._seen = 0
        self._held: list[tuple[Row, str, Lack | None]] = []

    def head(self) -> Row | None:
        """The next one; None where there is none, or this transaction may hold no more."""
        while not self._rows and not self._end and self._claim.want > 0:  # of a page, all may have been put off
            self._load()
            if self._plainly:
                self._take_plain()
        return self._rows[-1] if self._rows else None

    def _load(self) -> None:
        if self._seen and 2 * len(self._held) >= self._seen:
            self._page = min(self._page * 8, PAGE)
        self.finish()
        claim = self._claim
        if claim.full:
            self._end = True
            return
        limit = self._page + self._taken
        rows = claim.tx.execute(PENDING, {"queue": self._queue, "limit": limit})
        self._end = len(rows) < limit
        rows = unique.admitted(claim.tx, rows, now_ms=claim.now_ms)
        self._rows = [row for row in reversed(rows) if row[SEQ] not in claim.taken]
        self._seen = len(self._rows)

    def _take_plain(self) -> None:
        """Take those at the head that no limit concerns, as most are, with nothing held that could go before them."""
        claim, rows = self._claim, self._rows
        implied = claim.rules.implied
        while rows and claim.want > 0:
            row = rows[-1]
            if row[KEYS] is not None or implied(row[TASK], self._queue):
                break
            claim.chosen.append(rows.pop())
            claim.taken.add(row[SEQ])
            claim.want -= 1
            self._taken += 1

    def take(self) -> None:
        """Take the head, or hold it."""
        row = self._rows.pop()
        over = self._claim.judge(row, self._queue)
        if over is None:
            self._taken += 1
        else:
            self._held.append((row, *over))

    def finish(self) -> None:
        """Write what was held so far."""
        if self._held:
            self._claim.hold(self._held, self._queue)
            self._held = []


def _place(row: Row | None) -> tuple[int, int, int]:
    """The order in which messages start."""
    assert row is not None
    return -row[PRIORITY], row[DUE], row[SEQ]


def claim(
    tx: Transaction, queues: Sequence[str], cache: Cache, budget: Budget | None, worker: int, limit: int,
    visibility_s: float, now_ms: int,
) -> Claimed:  # fmt: skip
    """Lease up to `limit` messages as `claim.claim`; where there are limits, or a `budget`, within those."""
    visibility_ms = int(visibility_s * 1000)
    if budget is None and cache.version == 0:
        plain = _claim.claim(tx, queues, worker=worker, limit=limit, visibility_ms=visibility_ms, now_ms=now_ms)
        if plain is not None:
            return plain
    return _claim_within(tx, queues, cache, budget, worker, limit, visibility_ms, now_ms)


def _claim_within(
    tx: Transaction, queues: Sequence[str], cache: Cache, budget: Budget | None, worker: int, limit: int,
    visibility_ms: int, now_ms: int,
) -> Claimed:  # fmt: skip
    looks: dict[str, int | None] = {}
    promoted, command, version, due_ms = 0, 0, 0, None
    if budget is None or cache.version:  # a worker's own rates alone are nobody else's
        lock(tx)
    for queue in queues:
        paused, fair, at_ms, due_ms, command, version = tx.execute(LOOK, {"queue": queue, "now_ms": now_ms})[0]
        if not paused:
            looks[queue] = 0 if fair else at_ms
    if due_ms is not None and due_ms <= now_ms:
        promoted, due_ms = promote(tx, worker=worker, now_ms=now_ms)
    if version:
        lock(tx)
    woken = rates.wake(tx, list(looks), budget, limit) if budget is not None else set()
    one = _Claim(tx, cache.rules(tx, version), budget, limit, now_ms)
    for queue, at_ms in looks.items():
        if one.want <= 0 or one.full:
            break
        one.choose(queue, held=at_ms is not None and at_ms <= now_ms)
    rows = one.chosen
    leases: list[Lease] = []
    if rows:
        leases = lease_found(tx, rows, flags_of(rows), worker=worker, visibility_ms=visibility_ms, now_ms=now_ms)
    one.write(leases)
    if budget is not None:
        rates.hold_again(tx, woken - one.taken)
        rates.note(tx, budget, list(looks), leases)
        if one.full:
            budget.wait_s = 0.0
    if one.changed:
        looks = _look(tx, list(looks), now_ms)
    due_ms = _earliest(due_ms, now_ms if one.full else None, *looks.values())
    return Claimed(leases, due_ms, promoted, command if leases else 0, again(leases, rows) if rows else (), one.timed)


def _look(tx: Transaction, queues: Sequence[str], now_ms: int) -> dict[str, int | None]:
    """Those of `queues` that are not paused, with the time at which something that is held may start (0: now)."""
    found: dict[str, int | None] = {}
    for queue in queues:
        paused, fair, at_ms = tx.execute(QUEUE, {"queue": queue, "now_ms": now_ms})[0]
        if not paused:
            found[queue] = 0 if fair else at_ms
    return found


def worth_it(tx: Transaction, queues: Sequence[str], *, now_ms: int) -> int | None:
    """When a claim from `queues` may find something that is held, in ms: 0 for now, None for no known time; a read."""
    return _earliest(*_look(tx, queues, now_ms).values())


def _earliest(*times: int | None) -> int | None:
    return min((time for time in times if time is not None), default=None)
