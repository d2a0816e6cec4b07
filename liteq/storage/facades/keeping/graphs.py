"""LangGraph's checkpoints and items: one transaction a method. They are contrib/liteq_langgraph's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from liteq.message import Hold
from liteq.storage.driver import Promise, Transaction
from liteq.storage.facades.base import Facade
from liteq.storage.graphs import cached as _cached
from liteq.storage.graphs import items as _items
from liteq.storage.graphs import leave as _leave
from liteq.storage.graphs import load as _load
from liteq.storage.graphs import put as _put
from liteq.storage.graphs.records import Blob, Checkpoint, Key, Loaded, Value, Write
from liteq.storage.runs import executing as _executing

__all__ = ["Graphs"]

CHUNK = 500  # rows that are deleted in one transaction


class Graphs(Facade):
    """Threads of checkpoints. A `hold` is a run's lease: its methods raise LeaseLost, and write nothing without it."""

    def put(
        self, checkpoint: Checkpoint, values: Sequence[Value], blobs: Mapping[str, Blob], hold: Hold | None = None
    ) -> None:
        """Store a checkpoint, the values that are new in it, and what those name by a hash.

        Raises records.Gone, and stores nothing, where a value is built on one that is not there any more.
        """
        with self._driver.write(Promise.ACCEPTED) as tx:
            _under(tx, hold)
            _put.put(tx, checkpoint, values, blobs)

    def put_writes(
        self, key: Key, writes: Sequence[Write], blobs: Mapping[str, Blob], hold: Hold | None = None
    ) -> None:
        """Store pending writes of a checkpoint; those that are there stay, but for the special ones."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            _under(tx, hold)
            _put.put_writes(tx, key, writes, blobs)

    def own(self, hold: Hold, thread: str) -> None:
        """Note that a thread is the run's own, and leaves with it."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            _executing.hold_on(tx, hold)
            _put.own(tx, hold.run, thread)

    def load(self, thread: str, ns: str, id_: str | None = None) -> Loaded | None:
        """A checkpoint with its values and pending writes; `id_` None: the latest."""
        with self._driver.read() as tx:
            return _load.load(tx, thread, ns, id_)

    def keys(
        self, *, thread: str | None, ns: str | None, id_: str | None, before: str | None, limit: int | None
    ) -> list[Key]:
        """The places of checkpoints, the newest first; None: of any."""
        with self._driver.read() as tx:
            return _load.keys(tx, thread=thread, ns=ns, id_=id_, before=before, limit=limit)

    def branch(self, thread: str, ns: str, id_: str | None, channels: Sequence[str]) -> list[Loaded]:
        """The ancestors of a checkpoint, the nearest first, until each of `channels` has had a value."""
        with self._driver.read() as tx:
            return _load.branch(tx, thread, ns, id_, channels)

    def namespaces(self, thread: str) -> list[str]:
        """The namespaces of a thread."""
        with self._driver.read() as tx:
            return _leave.namespaces(tx, thread)

    def copy(self, source: str, target: str) -> None:
        """Copy a thread. Raises ValueError where the target has checkpoints."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            _leave.copy(tx, source, target)

    def delete_thread(self, thread: str) -> None:
        """Delete a thread, in chunks."""
        while True:
            with self._driver.write(Promise.REMOVED) as tx:
                if not _leave.delete_thread(tx, thread, limit=CHUNK):
                    return

    def delete_for_runs(self, runs: Sequence[str]) -> None:
        """Delete the checkpoints that bear one of these run ids."""
        with self._driver.write(Promise.REMOVED) as tx:
            _leave.delete_for_runs(tx, runs)

    def prune(self, thread: str, ns: str, keep: AbstractSet[str]) -> None:
        """Delete the checkpoints of a namespace but for those of the ids `keep`."""
        with self._driver.write(Promise.REMOVED) as tx:
            _leave.prune(tx, thread, ns, keep)

    # -- items -------------------------------------------------------------------------------------------------------

    def put_items(self, puts: Sequence[tuple[str, str, bytes | None, bytes | None, int | None]]) -> None:
        """Store items (namespace, key, JSON, vector, time to live in ms); without JSON: delete them."""
        now_ms = self._clock.now_ms()
        with self._driver.write(Promise.ACCEPTED) as tx:
            for prefix, key, value, vector, ttl_ms in puts:
                if value is None:
                    _items.delete(tx, prefix, key)
                else:
                    _items.put(tx, prefix, key, value, vector, ttl_ms=ttl_ms, now_ms=now_ms)

    def items(self, keys: Sequence[tuple[str, str]]) -> list[_items.Item | None]:
        """The items of these namespaces and keys."""
        now_ms = self._clock.now_ms()
        with self._driver.read() as tx:
            return [_items.get(tx, prefix, key, now_ms=now_ms) for prefix, key in keys]

    def search(self, prefix: str, *, first: str, last: str, limit: int | None = None) -> list[_items.Item]:
        """The items of a namespace and of those between `first` and `last`, the newest first."""
        with self._driver.read() as tx:
            return _items.search(tx, prefix, first=first, last=last, now_ms=self._clock.now_ms(), limit=limit)

    def prefixes(self) -> list[str]:
        """The namespaces that have items."""
        with self._driver.read() as tx:
            return _items.prefixes(tx, now_ms=self._clock.now_ms())

    def touch(self, keys: Sequence[tuple[str, str]]) -> None:
        """Have the time to live of items begin anew."""
        with self._driver.write(Promise.PROGRESS) as tx:
            _items.touch(tx, keys, now_ms=self._clock.now_ms())

    # -- the cache: rows of the memo ---------------------------------------------------------------------------------

    def cached(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values under these keys of the memo."""
        now_ms = self._clock.now_ms()
        with self._driver.read() as tx:
            return [_cached.find(tx, key, now_ms=now_ms) for key in keys]

    def cache(self, values: Sequence[tuple[str, str, bytes, int | None]]) -> None:
        """Keep values (key, name, output, time to live in ms) in the memo."""
        now_ms = self._clock.now_ms()
        with self._driver.write(Promise.PROGRESS) as tx:
            for key, name, output, ttl_ms in values:
                _cached.store(tx, key, name, output, ttl_ms=ttl_ms, now_ms=now_ms)

    def clear_cache(self, names: Sequence[str] | None, *, first: str, last: str) -> None:
        """Forget the values under these names of the memo; None: under all from `first` to before `last`."""
        with self._driver.write(Promise.REMOVED) as tx:
            _cached.clear(tx, _cached.names(tx, first, last) if names is None else names)


def _under(tx: Transaction, hold: Hold | None) -> None:
    """Raise LeaseLost for a run whose lease is over; what it stores is progress."""
    if hold is not None:
        _executing.hold_on(tx, hold)
        _put.progressed(tx, hold)
