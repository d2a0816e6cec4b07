"""The acts of operators, on one message and on many; one transaction a method, with its row of the audit in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from liteq.clock import Clock
from liteq.exceptions import MessageNotFound, NotEligible
from liteq.message import Batch, Message
from liteq.storage.canvases import cancel as _cancel
from liteq.storage.driver import Driver, Promise, Transaction
from liteq.storage.facades.base import Facade
from liteq.storage.moving import gate as _gate
from liteq.storage.operating import acting as _acting
from liteq.storage.operating import audit as _audit
from liteq.storage.operating import operations as _operations
from liteq.storage.operating.acting import Target
from liteq.storage.operating.audit import Actor
from liteq.storage.operating.operations import Operation, Wanted
from liteq.storage.sending import enqueue as _enqueue
from liteq.storage.statistics import event_log as _event_log
from liteq.utils.records import NamedTuple

__all__ = ["Chunk", "Operations"]

CHUNK = 1_000  # rows of one purge
PATIENCE_S = 0.03  # a chunk of an operation that has had the write lock for so long ends: others wait for it


class Chunk(NamedTuple):
    """A chunk of a bulk action to do: `ids`, of a page of its search, which begins behind the mark `after`.

    `handled`: ids of the same page that were done before. `cursor`: the place behind all of it, as JSON. `fence`: a
    token; a message that has been claimed since then is not the operation's any more. `queues`: the globs within which
    it may act (None: all).
    """

    kind: str
    ids: Sequence[str]
    arguments: Mapping[str, Any]
    cursor: bytes
    after: str | None
    handled: Sequence[str]
    fence: int
    queues: Sequence[str] | None
    by: Actor

    def cursor_at(self, n: int) -> bytes:
        """The place in the search once the first `n` ids are handled, as JSON."""
        if n == len(self.ids):
            return self.cursor
        return orjson.dumps({"fence": self.fence, "after": self.after, "handled": [*self.handled, *self.ids[:n]]})


class Did(NamedTuple):
    """The outcome of a chunk: how many rows by what became of them ("done", or the reason why not).

    `n`: how many ids it got to; it ends early where they take long. `held_s`: for how long it had the write lock.
    """

    n: int
    became: Counter[str]
    held_s: float


class Operations(Facade):
    """Acts of operators. `queues` are globs: what lies outside is not there (None: all)."""

    def __init__(self, driver: Driver, clock: Clock, events_of: Callable[[Sequence[Message]], Sequence[bytes]]) -> None:
        super().__init__(driver, clock)
        self._events_of = events_of

    # -- on one message ----------------------------------------------------------------------------------------------

    def act(
        self, action: str, id_: str, *, by: Actor, queues: Sequence[str] | None = None,
        arguments: Mapping[str, Any] | None = None, version: str | None = None,
    ) -> Target | None:  # fmt: skip
        """Do `action` to a message; how it was before. None: this actor has done so already, to this `version` of it.

        Raises MessageNotFound, and NotEligible where its state forbids it, or it has changed since `version`.
        """
        with self._driver.write(_promise(action)) as tx:
            now_ms = self._clock.now_ms()
            target = _acting.find_seen(tx, id_, queues)
            if version is not None and version != _acting.version(target):
                if _was_last_done(tx, by, action, id_):
                    return None
                raise NotEligible(id_, action, target.state, "it has changed since: look at it again")
            _acting.act(tx, action, target, arguments or {}, queues=queues, now_ms=now_ms)
            _audit.write(tx, by, action, id_, target.queue, 1, now_ms=now_ms)
        self._ring(done=True, work=True)
        return target

    def send_again(
        self, id_: str, message: Message, *, by: Actor, queues: Sequence[str] | None = None, version: str | None = None
    ) -> bool:
        """Send `message`, which is made from the one of `id_`, and leave that as it is; False where it was sent before.

        Raises MessageNotFound, and NotEligible where the old one has changed since `version`.
        """
        events = self._events_of([message])
        with self._driver.write(Promise.ACCEPTED) as tx:
            now_ms = self._clock.now_ms()
            target = _acting.find_seen(tx, id_, queues)
            if _acting.find(tx, message.id) is not None:
                return False
            if version is not None and version != _acting.version(target):
                raise NotEligible(id_, "resend", target.state, "it has changed since: look at it again")
            _enqueue.enqueue(tx, Batch([message], []), now_ms=now_ms)
            if events:
                _event_log.write(tx, events, now_ms=now_ms)
            _audit.write(tx, by, "resend", id_, target.queue, 1, now_ms=now_ms)
        self._ring(work=True)
        return True

    def begin_epoch(self, by: Actor) -> int:
        """Begin a new life of a store that has gone back in time; the number of its epoch."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            number = self._driver.begin_epoch(tx)
            _audit.write(tx, by, "epoch", str(number), None, 1, now_ms=self._clock.now_ms())
        self._ring(work=True)
        return number

    def is_being_moved(self) -> bool:
        """Whether the store is shut, as an end of a move that has not ended."""
        with self._driver.read(alone=True) as tx:
            return _gate.note(tx) is not None

    def purge(self, queues: Sequence[str] | None = None, *, by: Actor | None = None) -> int:
        """Delete the messages that wait to run in `queues` (None: in all), a chunk a transaction; how many."""
        purged = 0
        for queue in queues if queues is not None else [None]:
            n = CHUNK
            while n == CHUNK:
                with self._driver.write(Promise.REMOVED) as tx:
                    now_ms = self._clock.now_ms()
                    n = _cancel.purge(tx, queue, now_ms=now_ms, limit=CHUNK)
                    if by is not None and n:
                        _audit.write(tx, by, "purge", queue or "*", queue, n, now_ms=now_ms)
                purged += n
        self._ring(done=True, work=purged > 0)  # of those that waited for one of them, an errback may run
        return purged

    def look(self, action: str, ids: Sequence[str], *, queues: Sequence[str] | None = None) -> list[tuple[Target, str]]:
        """Those of these messages that are there, each with the reason why `action` is not offered ("": it is)."""
        with self._driver.read() as tx:
            found = [target for id_ in ids if (target := _acting.look_at(tx, id_)) is not None]
        return [(one, _acting.refusal(action, one)) for one in found if _acting.is_among(one.queue, queues)]

    def behind(self, ids: Sequence[str], *, limit: int) -> int:
        """How many messages follow these along the edges of their workflows, counting no further than `limit`."""
        with self._driver.read() as tx:
            return _acting.behind(tx, ids, limit=limit)

    # -- on many -----------------------------------------------------------------------------------------------------

    def create(self, wanted: Wanted) -> bool:
        """Write an operation that nobody does yet; False where there is one of this id already."""
        by = Actor(wanted.actor, wanted.source, wanted.reason)
        with self._driver.write(Promise.ACCEPTED) as tx:
            now_ms = self._clock.now_ms()
            made = _operations.create(tx, wanted, now_ms=now_ms)
            if made:
                _audit.write(tx, by, f"start {wanted.kind}", wanted.id, None, wanted.found, now_ms=now_ms)
        return made

    def find(self, id_: str) -> Operation | None:
        """The operation of this id; None where there is none."""
        with self._driver.read() as tx:
            return _operations.find(tx, id_)

    def page(self, *, after: str | None = None, limit: int = 100) -> list[Operation]:
        """Up to `limit` operations, the newest first: those behind the one of the id `after` (None: the newest)."""
        with self._driver.read() as tx:
            return _operations.page(tx, after=after, limit=limit)

    def take(self, seen: Operation, owner: str, *, by: Actor | None = None) -> bool:
        """Have `owner` do an operation as it was `seen`; False where another process was first, or it is done.

        `by`: who continues it.
        """
        with self._driver.write(Promise.ACCEPTED) as tx:
            now_ms = self._clock.now_ms()
            taken = _operations.take(tx, seen, owner, now_ms=now_ms)
            if taken and by is not None:
                _audit.write(tx, by, "continue", seen.id, None, 1, now_ms=now_ms)
        return taken

    def step(self, id_: str, owner: str, chunk: Chunk) -> Did | None:
        """Do one chunk of an operation: the acts, the cursor, the counts and the audit are one transaction.

        None: the operation is another's by now, or has been stopped, and nothing was done.
        """
        with self._driver.write(_promise(chunk.kind)) as tx:
            began = self._clock.monotonic()
            now_ms = self._clock.now_ms()
            stop = _operations.hold(tx, id_, owner)
            if stop:
                _operations.release(tx, id_, owner, now_ms=now_ms)
            if stop is not False:
                return None
            became, queues = self._do(tx, chunk, now_ms, until_s=began + PATIENCE_S)
            n, done = became.total(), became["done"]
            skipped = n - done
            _operations.advance(tx, id_, owner, cursor=chunk.cursor_at(n), done=done, skipped=skipped, now_ms=now_ms)
            for queue, of_queue in queues.items():
                _audit.add(tx, chunk.by, chunk.kind, id_, queue, of_queue, now_ms=now_ms)
            held_s = self._clock.monotonic() - began  # without the wait for the disk, for which nobody else waits
        if done:
            self._ring(done=True, work=True)
        return Did(n, became, held_s)

    def _do(
        self, tx: Transaction, chunk: Chunk, now_ms: int, *, until_s: float
        ) -> tuple[Counter[str], Counter[str]]:  # fmt: skip
        """Act on the ids of a chunk up to a time: how many by what became of them, and how many were done by queue."""
        became, queues = Counter[str](), Counter[str]()
        for id_ in chunk.ids:
            if became and self._clock.monotonic() > until_s:
                break
            try:
                target = _acting.find_seen(tx, id_, chunk.queues)
                if (target.token or 0) > chunk.fence:
                    became["it has run since the operation began"] += 1
                    continue
                _acting.act(tx, chunk.kind, target, chunk.arguments, queues=chunk.queues, now_ms=now_ms)
            except MessageNotFound:
                became["it is gone"] += 1
            except NotEligible as error:
                became[error.why] += 1
            else:
                became["done"] += 1
                queues[target.queue] += 1
        return became, queues

    def give_up(self, id_: str, owner: str) -> None:
        """Leave an operation where it is; it can be continued at its cursor."""
        with self._driver.write(Promise.PROGRESS) as tx:
            _operations.release(tx, id_, owner, now_ms=self._clock.now_ms())

    def finish(self, id_: str, owner: str, *, error: str = "") -> None:
        """End an operation: done, or failed with `error`."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            _operations.finish(tx, id_, owner, error=error, now_ms=self._clock.now_ms())

    def stop(self, id_: str, *, by: Actor) -> bool:
        """Ask the owner of an operation to stop after its chunk; False where none does it."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            asked = _operations.ask_to_stop(tx, id_)
            if asked:
                _audit.write(tx, by, "stop", id_, None, 1, now_ms=self._clock.now_ms())
        return asked


def _promise(action: str) -> Promise:
    """Work that comes back is refused while the disk is full; what leaves is not."""
    return Promise.REMOVED if action in {"delete", "revoke", "terminate", "cancel", "pause"} else Promise.ACCEPTED


def _was_last_done(tx: Transaction, by: Actor, action: str, id_: str) -> bool:
    return any(one.actor == by.name and one.action == action for one in _audit.of_target(tx, id_, limit=1))
