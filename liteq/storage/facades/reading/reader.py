"""Reading: one consistent snapshot a method. Nothing here writes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

from liteq.message import Lease
from liteq.states import State
from liteq.storage.claiming import claim as _claim
from liteq.storage.claiming import rates as _rates
from liteq.storage.claiming import workers as _workers
from liteq.storage.claiming.workers import WorkerRecord
from liteq.storage.facades.base import Facade
from liteq.storage.housekeeping import cap as _cap
from liteq.storage.kept import children as _children
from liteq.storage.reading import backlog as _backlog
from liteq.storage.reading import inspect as _inspect
from liteq.storage.reading import reached as _reached
from liteq.storage.reading.backlog import Backlog, DeadLetters
from liteq.storage.reading.inspect import GroupRecord, Member, Record
from liteq.storage.rows import payloads as _payloads
from liteq.storage.rows import results as _results

if TYPE_CHECKING:
    from liteq.storage.reading.overview import Count

__all__ = ["Reader"]

LOOKED_AT: Final = 100_000  # messages, for those of some queues
LOOK: Final = 10_000  # of them in one statement


class Reader(Facade):
    """Messages, groups, counts and workers, for results, the command line and dashboards."""

    def find(self, message_id: str) -> Record | None:
        """The message of this id; None when there is none (never was, or its time is over)."""
        with self._driver.read() as tx:
            return next(_inspect.find(tx, [message_id]), None)

    def find_ended(self, message_id: str) -> Record | None:
        """The message of this id once it has finished, else None; large arguments are not read: `payload` is empty."""
        with self._driver.read(alone=True) as tx:
            record = _inspect.find_ended(tx, message_id)
        if record is not None and record.state is State.UPSTREAM_FAILED:  # its error may be that of another
            return self.find(message_id)
        return record

    def find_many(self, ids: Sequence[str]) -> dict[str, Record]:
        """Those of these messages that exist, by id, from one snapshot."""
        with self._driver.read() as tx:
            return {record.id: record for record in _inspect.find(tx, ids)}

    def have_ended(self, ids: Sequence[str]) -> dict[str, bool]:
        """Whether each of these messages has finished, of those that exist, from one snapshot."""
        with self._driver.read(alone=len(ids) == 1) as tx:
            return _inspect.have_ended(tx, ids)

    def find_finished(self, ids: Sequence[str], *, shown: bool = False) -> dict[str, Record]:
        """Those of these messages that have finished, by id, from one snapshot.

        `shown`: also the states that somebody has stored for an id, to which there is no message.
        """
        with self._driver.read() as tx:
            return {record.id: record for record in _inspect.find_finished(tx, ids, shown=shown)}

    def created_ms(self, id_: str) -> int:
        """The time of the row of the message, or group, `id_`; 0 where it has gone."""
        with self._driver.read() as tx:
            return _reached.created_ms(tx, id_)

    def has_reached(self, id_: str, from_ms: int, after_ms: int) -> bool:
        """Whether the commit of the message, or group, `id_` is here, made from `from_ms` to before `after_ms`."""
        with self._driver.read() as tx:
            return _reached.has_reached(tx, id_, from_ms, after_ms)

    def find_group(self, group_id: str) -> GroupRecord | None:
        """The counter of a group; None when there is none of that id."""
        with self._driver.read() as tx:
            return _inspect.find_group(tx, group_id)

    def group_members(self, group_id: str) -> list[Member]:
        """The members of a group in the order of its result; [] when there is none of that id."""
        with self._driver.read() as tx:
            return _inspect.group_members(tx, group_id)

    def sent_by(self, message_id: str) -> list[tuple[str, bool]]:
        """The messages that the body of one sent, as (id, whether of a group), in their order."""
        with self._driver.read() as tx:
            return _inspect.sent_by(tx, message_id)

    def children(self, message_id: str) -> bytes | None:
        """The results that the body of a message has made, as its `Ack` has told them (JSON); None: it has not."""
        with self._driver.read(alone=True) as tx:
            return _children.find(tx, message_id)

    def followers(self, node: str) -> list[str]:
        """The ids of the messages that await a message or a group, or did, in the order of sending."""
        with self._driver.read() as tx:
            return _inspect.followers(tx, node)

    def messages(self, state: State, *, limit: int = 100) -> list[Record]:
        """Messages in one state, in the order of its list (`Views.page`); of those a first look finds."""
        from liteq.storage.reading import browse as _browse

        with self._driver.read() as tx:
            lines = _browse.page(tx, _browse.WALK_OF[state], limit=limit)
            return list(_inspect.find(tx, [line.id for line in lines if line.state == state]))

    def messages_of(self, queues: Collection[str], state: State, *, limit: int) -> list[Record]:
        """As `messages`, of these queues alone: of the first `LOOKED_AT` in that state."""
        from liteq.storage.reading import browse as _browse

        found: list[int] = []
        after: tuple[object, ...] | None = None
        with self._driver.read() as tx:
            for _ in range(0, LOOKED_AT, LOOK):
                rows = _browse.seen(tx, _browse.WALK_OF[state], after=after, limit=LOOK)
                found += [row[0] for row in rows if row[1] == state and row[3] in queues]
                if len(found) >= limit or len(rows) < LOOK:
                    break
                after = tuple(rows[-1][_browse.SEEN :])
            return list(_inspect.find(tx, [line.id for line in _browse.line(tx, found[:limit])]))

    def counts(self) -> list[Count]:
        """How many messages there are, by queue and state; of each state 10,000 are counted at most (`Count.exact`)."""
        from liteq.storage.reading import overview as _overview

        with self._driver.read() as tx:
            return _overview.by_queue(tx)

    def backlog(self) -> list[Backlog]:
        """The queues in which messages wait that are due: how many, since when, of which tasks. Bounded by indexes."""
        with self._driver.read() as tx:
            return _backlog.backlog(tx, now_ms=self._clock.now_ms())

    def dead_letters(self) -> DeadLetters:
        """How many dead letters there are, counting no further than a thousand, and the age of the newest."""
        with self._driver.read() as tx:
            return _backlog.dead_letters(tx)

    def workers(self) -> list[WorkerRecord]:
        """Every worker that the store knows."""
        with self._driver.read() as tx:
            return _workers.workers(tx)

    def waiting(self, queues: Sequence[str], *, limit: int) -> int:
        """How many messages of `queues` could be claimed now, counting no further than `limit`."""
        with self._driver.read() as tx:
            return _inspect.waiting(tx, queues, limit=limit)

    def waiting_queues(self) -> list[str]:
        """The names of the queues in which something waits that is due, also where a rate or a limit holds it."""
        with self._driver.read(alone=True) as tx:
            held = (queue for queue, _ in _rates.held_pairs(tx))
            return sorted({*_backlog.waiting_queues(tx), *held})

    def next_due_ms(self) -> int | None:
        """When the next scheduled message comes due; None when there is none."""
        with self._driver.read() as tx:
            return _claim.next_due_ms(tx)

    def worker_before(self, worker: int, boot: str, *, fresh_s: float) -> tuple[WorkerRecord | None, bool]:
        """The worker before `worker` under the same `boot`, and whether one of all those before it is fresh.

        Fresh: its heartbeat is `fresh_s` seconds old at most.
        """
        now_ms = self._clock.now_ms()
        fresh_ms = int(fresh_s * 1000)
        with self._driver.read() as tx:
            return _workers.before(tx, worker, boot, since_ms=now_ms - fresh_ms, until_ms=now_ms + fresh_ms)

    def is_ahead(self, slack_s: float = 1.0) -> bool:
        """Whether the clock was set back, by more than `slack_s` seconds, since a message was sent or ended; a read."""
        with self._driver.read() as tx:
            return _cap.is_ahead(tx, now_ms=self._clock.now_ms() + int(slack_s * 1000))

    def with_payload(self, lease: Lease) -> Lease:
        """`lease` with its arguments: large ones stand beside its row, and no claim reads them.

        Raises LeaseLost where it is over, and BadMessage where they are missing in the file.
        """
        if lease.payload:
            return lease
        with self._driver.read() as tx:
            return _payloads.with_payload(tx, lease)

    def input_of(self, awaited: str) -> bytes:
        """The result of a message, or the list of those of a group's members, as JSON; `null` where none is kept."""
        with self._driver.read() as tx:
            return _results.result_of(tx, awaited)
