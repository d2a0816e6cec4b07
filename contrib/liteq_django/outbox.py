"""The outbox: what is sent inside a transaction of a database that does not hold the queue.

A row is written by the transaction itself, so it is there when that has been committed, and never when it was rolled
back. Its messages are put into the queue right after the commit, by the process that sent them; should that have died,
by a worker's relay. Taking the row away and putting its messages in are one transaction of the models' database, and
the putting in is idempotent by the messages' ids: a process may die at any point of it.

The table is one for the app's own queue and for all files of `app.using()`: a row for one of these says so.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any

from django.db import DatabaseError, Error, close_old_connections, transaction
from django.utils import timezone

from liteq.clock import to_ms
from liteq.exceptions import BadMessage, CodecError, LiteqError, StorageUnavailable
from liteq.message import Batch, Message
from liteq.serialization.batch import again_in, dump_batch, load_batch, queue_in
from liteq.storage.driver import Driver
from liteq.storage.sealed import vault_of
from liteq.storage.sqlite.disk.ownership import open_sidecar
from liteq.storage.storage import Storage
from liteq_django.conf import OUTBOX_INTERVAL_S, option
from liteq_django.transaction import inside_atomic

__all__ = ["Elsewhere", "OutboxStorage", "Relay"]

logger = logging.getLogger("liteq.django")

CHUNK = 500  # messages of one row, rows of one look
# Of a row with many messages: MariaDB refuses a statement of more than 16 MB (max_allowed_packet).
CHUNK_BYTES = 1_000_000
LEADER_RETRY_S = 5.0


def _chunks(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """Lists of at most CHUNK messages, and CHUNK_BYTES unless one alone has more."""
    chunk: list[Message] = []
    size = 0
    for message in messages:
        length = len(message.payload)
        if chunk and (len(chunk) == CHUNK or size + length > CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(message)
        size += length
    if chunk:
        yield chunk


class Elsewhere(LiteqError):
    """Raised for a row that another queue than the app's own cannot take now: `queue` says which."""

    def __init__(self, queue: str, why: object) -> None:
        super().__init__(str(why))
        self.queue = queue


class OutboxStorage(Storage):
    """A queue whose messages, when they are sent inside `atomic()` on the database `using`, go by way of the outbox.

    `queue`: its URL where it is not the app's own. `others`: the storage of another queue, by that URL.
    """

    def __init__(
        self, driver: Driver, *, using: str, others: Callable[[str], Storage], queue: str = "", **options: Any
    ) -> None:
        super().__init__(driver, **options)
        self.using = using
        self._others = others
        self._queue = queue

    def enqueue(self, batch: Batch, **options: Any) -> list[str]:
        """As `Storage.enqueue`. Inside `atomic()` a `unique_key` decides when the messages reach the queue, not now."""
        if not inside_atomic(self.using):
            return super().enqueue(batch, **options)
        self._put(batch, options.get("again", ()))
        return [node.id for node in batch.nodes()]

    def enqueue_many(self, messages: Iterable[Message]) -> int:
        if not inside_atomic(self.using):
            return super().enqueue_many(messages)
        done = 0
        for chunk in _chunks(messages):
            self._put(Batch(chunk))
            done += len(chunk)
        return done

    def takes_calls(self) -> bool:
        return super().takes_calls() and not inside_atomic(self.using)

    def takes_parts(self) -> bool:
        return not inside_atomic(self.using)

    def _put(self, batch: Batch, again: Collection[str] = ()) -> None:
        data, vault = dump_batch(batch, again=again, queue=self._queue), vault_of(self.driver)
        if vault is not None:  # at rest as in the queue
            data = vault.seal(data)
        try:
            entry = self._entries().create(batch=data)
        except DatabaseError as exc:
            raise StorageUnavailable(
                f"the outbox in the database {self.using!r} cannot be written: {exc}. Where its table is missing, run "
                "`manage.py migrate`"
            ) from exc
        transaction.on_commit(partial(self.deliver_own, entry.pk), using=self.using, robust=True)

    def _entries(self) -> Any:
        from liteq_django.models import OutboxEntry

        return OutboxEntry._default_manager.using(self.using)

    # -- from the outbox to the queue

    def deliver(self, key: int, *, but: Collection[str] = ()) -> bool:
        """Take the row `key` away and put its messages into their queue; False when somebody else has.

        One for a queue in `but` stays, and is False too. Raises Elsewhere.
        """
        with transaction.atomic(using=self.using):
            # The row is locked until the commit: of two that come for it, one finds it gone.
            entry = self._entries().select_for_update().filter(pk=key).first() if self._locks() else self._find(key)
            if entry is None:
                return False
            data, vault = bytes(entry.batch), vault_of(self.driver)
            data = data if vault is None else vault.open(data)
            batch, queue = load_batch(data), queue_in(data)
            if queue in but or not self._entries().filter(pk=key).delete()[0]:
                return False
            if queue in {"", self._queue}:
                _take(self, batch, again_in(data), entry.created_at)
            else:
                try:
                    _take(self._others(queue), batch, again_in(data), entry.created_at)
                except LiteqError as exc:
                    raise Elsewhere(queue, exc) from exc
        return True

    def _find(self, key: int) -> Any:
        return self._entries().filter(pk=key).first()

    def _locks(self) -> bool:
        from django.db import connections

        return bool(connections[self.using].features.has_select_for_update)

    def deliver_own(self, key: int) -> None:
        """Right after the commit. What cannot be delivered now is the relay's."""
        try:
            self.deliver(key)
        except (LiteqError, Error) as exc:
            logger.warning("the tasks of a transaction wait in the outbox for a worker to relay them: %s", exc)

    def undelivered(self, *, after: int = 0) -> list[int]:
        """The keys of up to CHUNK rows that have not been delivered, behind the key `after`, the oldest first."""
        return list(self._entries().filter(pk__gt=after).order_by("pk").values_list("pk", flat=True)[:CHUNK])


def _take(queue: Storage, batch: Batch, again: Sequence[str], sent_at: datetime) -> None:
    """Put `batch` into `queue` itself, inside of a transaction as outside."""
    Storage.enqueue(queue, batch, again=_ended_before(queue, again, sent_at), told=True)


def _ended_before(queue: Storage, ids: Sequence[str], sent_at: datetime) -> list[str]:
    """Those of `ids` under which a message had finished when they were sent.

    One that has finished since is perhaps this very one: its row is here again, where a process has died meanwhile.
    """
    records = queue.reader.find_many(ids) if ids else {}
    sent_ms = to_ms(timezone.make_aware(sent_at) if timezone.is_naive(sent_at) else sent_at)
    return [id_ for id_, one in records.items() if one.finished_ms is not None and one.finished_ms <= sent_ms]


class Relay:
    """Carries what is left in the outbox to the queue, in a thread, each `interval_s` seconds.

    One of a machine's worker processes does so, that which holds a lock beside the queue's file; when it ends, another
    takes over.
    """

    def __init__(self, storage: OutboxStorage, *, interval_s: float | None = None) -> None:
        self.storage = storage
        self.interval_s = float(option("outbox_interval", OUTBOX_INTERVAL_S)) if interval_s is None else interval_s
        self._stop = threading.Event()
        self._refused: set[int] = set()
        self._after = 0  # the last row of the look before: many that cannot be delivered hold up none behind them
        self._in_trouble = False  # said once, however long it lasts
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self.run, name="liteq-relay", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def run(self) -> None:
        """Until `stop()`, whatever goes wrong: nobody else relays while this process is the one that does."""
        while not self._stop.is_set():
            try:
                with _leadership(self.storage.driver) as leads:
                    while leads and not self._stop.wait(self.interval_s):
                        self.turn()
            except Exception as exc:  # noqa: BLE001 - told with its traceback
                self._told(exc)
            self._stop.wait(LEADER_RETRY_S)

    def turn(self) -> int:
        """Deliver what waits; how many rows. What goes wrong is logged, and tried again at the next turn."""
        done, aside = 0, set[str]()
        try:
            close_old_connections()
            keys = self.storage.undelivered(after=self._after)
            for key in keys:
                done += self._deliver(key, aside)
            self._after = keys[-1] if len(keys) == CHUNK else 0
            self._in_trouble = False
        except (LiteqError, Error) as exc:
            self._told(exc)
        return done

    def _told(self, exc: Exception) -> None:
        if not self._in_trouble:
            said = "the outbox cannot be relayed at the moment, it is tried again: %s"
            logger.warning(said, exc, exc_info=not isinstance(exc, (LiteqError, Error)))
        self._in_trouble = True

    def _deliver(self, key: int, aside: set[str]) -> bool:
        """Deliver one; `aside` are the queues that are not tried once more in this turn."""
        try:
            return self.storage.deliver(key, but=aside)
        except Elsewhere as exc:
            aside.add(exc.queue)
            self._say(key, "waits for a queue that cannot take it now", exc)
        except (BadMessage, CodecError) as exc:
            # Written by a newer liteq, by nothing of its, or under a key that is not here: others go on.
            self._say(key, "cannot be read and stays where it is", exc)
        return False

    def _say(self, key: int, what: str, exc: LiteqError) -> None:
        if key not in self._refused:
            self._refused.add(key)
            logger.error("outbox entry %s %s: %s", key, what, exc)


@contextmanager
def _leadership(driver: Any) -> Iterator[bool]:
    """Whether this process is the one that relays; the kernel takes that from it when it ends."""
    path = getattr(driver, "path", None)
    try:
        import fcntl
    except ImportError:  # no such locks: all relay, which costs turns and nothing else
        yield True
        return
    if path is None:
        yield True
        return
    import os

    fd = open_sidecar(f"{path}-relay")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(fd)
