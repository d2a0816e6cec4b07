"""Cursors and the lines of logs, which running tasks keep beside their messages: one transaction a method."""

from __future__ import annotations

from collections.abc import Sequence

from liteq.storage.driver import Bell, Promise
from liteq.storage.facades.base import Facade
from liteq.storage.kept import cursors as _cursors
from liteq.storage.kept import task_logs as _task_logs

__all__ = ["Kept"]


class Kept(Facade):
    """Cursors and logs, by lease (seq, token) where they are written."""

    def save_cursor(self, lease: tuple[int, int], cursor: bytes) -> bool:
        """Keep the cursor (JSON) of the task that runs under `lease`; False where that is over."""
        with self._driver.write(Promise.PROGRESS) as tx:
            return _cursors.save(tx, *lease, cursor)

    def cursor(self, seq: int) -> bytes | None:
        """The cursor (JSON) of the message of this row number; None where it has none."""
        with self._driver.read() as tx:
            return _cursors.find(tx, seq)

    def log(
        self, leases: Sequence[tuple[int, int]], lines: Sequence[bytes], attempts: Sequence[int | None], *, keep_ms: int
    ) -> list[int | None]:
        """Add lines (JSON) to the log of each task that runs under `leases`; the attempts that they bear.

        They stay for `keep_ms` milliseconds after its end. `attempts`: None at the first lines of an execution. None is
        returned for a lease that is over.
        """
        now_ms = self._clock.now_ms()
        with self._driver.write(Promise.PROGRESS, Bell.DONE) as tx:
            return [
                _task_logs.write(tx, *lease, lines, attempt, keep_ms=keep_ms, now_ms=now_ms)
                for lease, attempt in zip(leases, attempts, strict=True)
            ]
