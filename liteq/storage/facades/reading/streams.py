"""The reports and chunks that tasks and runs emit: one transaction a method. A run's are written by `storage.runs`."""

from __future__ import annotations

from collections.abc import Sequence

from liteq.storage.claiming import extend as _extend
from liteq.storage.driver import Bell, Promise
from liteq.storage.facades.base import Facade
from liteq.storage.kept import streams as _streams

__all__ = ["Streams"]


class Streams(Facade):
    """Streams by the id of their task or run, and their name."""

    def emit(self, lease: tuple[int, int], stream: str, chunks: Sequence[bytes], attempt: int | None = None) -> int:
        """Add chunks to a stream of the task that runs under `lease` (seq, token); the attempt that they bear.

        `attempt`: None at the first chunks of an execution: one more than the last that the stream's chunks bear.
        Raises LeaseLost.
        """
        with self._driver.write(Promise.PROGRESS, Bell.DONE) as tx:
            return _streams.emit_under(tx, *lease, stream, chunks, attempt)

    def report(self, leases: Sequence[tuple[int, int]], data: bytes) -> bool:
        """Show a state (JSON) for the tasks under these leases (seq, token); False where all of them are over."""
        with self._driver.write(Promise.PROGRESS, Bell.DONE) as tx:
            return _extend.progress_of(tx, leases, data) > 0

    def chunks(self, id_: str, stream: str, *, after: int = 0, limit: int = 1_000) -> tuple[list[_streams.Chunk], bool]:
        """Chunks of a stream behind the offset `after`, and whether no more come: its owner has ended or is unknown."""
        with self._driver.read() as tx:
            return _streams.chunks(tx, id_, stream, after=after, limit=limit)

    def names(self, id_: str, *, limit: int = 100) -> list[tuple[str, int]]:
        """The names of the streams of a task or run, each with the number of its last chunk."""
        with self._driver.read() as tx:
            return _streams.names(tx, id_, limit=limit)
