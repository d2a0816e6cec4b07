"""The memory of alerts: what is wrong, and who has been told; one transaction a method."""

from __future__ import annotations

from collections.abc import Mapping

from liteq.storage.driver import Promise
from liteq.storage.facades.base import Facade
from liteq.storage.operating import alerts as _alerts
from liteq.storage.operating.alerts import Failures, Tell

__all__ = ["Alerts"]


class Alerts(Facade):
    """The alerts that stand, by target, shared by any number of watchers."""

    def standing(self, target: str) -> list[Tell]:
        """The alerts of `target` that are in the file."""
        with self._driver.read() as tx:
            return _alerts.standing(tx, target)

    def look(
        self, target: str, found: Mapping[str, tuple[str, int]], *, quiet_s: float, hold_s: float,
        limit: int | None = None,
    ) -> list[Tell]:  # fmt: skip
        """Enter what a look has `found`, as key: (text, ms to stand before it is told); what this caller is to tell.

        An alert that no look has found for `quiet_s` seconds is over. What is returned, `limit` of it at most, is held
        for `hold_s`: no other watcher tells it meanwhile. Only a read where nothing is wrong, and nothing was.
        """
        if not found and not self.standing(target):
            return []
        with self._driver.write(Promise.PROGRESS) as tx:
            return _alerts.look(
                tx, target, found, quiet_ms=int(quiet_s * 1000), hold_ms=int(hold_s * 1000),
                now_ms=self._clock.now_ms(), limit=limit,
            )  # fmt: skip

    def told(self, target: str, one: Tell) -> None:
        """Note that `one` was told."""
        with self._driver.write(Promise.PROGRESS) as tx:
            _alerts.told(tx, target, one)

    def tell_later(self, target: str, one: Tell, *, in_s: float) -> None:
        """Note that `one` was told in vain, and is to be told again in `in_s` seconds."""
        with self._driver.write(Promise.PROGRESS) as tx:
            _alerts.tell_later(tx, target, one, next_ms=self._clock.now_ms() + int(in_s * 1000))

    def failures(self, *, since_ms: int, least: int, limit: int = 20) -> list[Failures]:
        """The tasks that failed at least `least` times of one exception since then, most first."""
        with self._driver.read() as tx:
            return _alerts.failures(tx, since_ms=since_ms, least=least, limit=limit)

    def dead_since(self, *, since_ms: int, limit: int) -> int:
        """How many dead letters of since then there are; no more than `limit` are counted."""
        with self._driver.read() as tx:
            return _alerts.dead_since(tx, since_ms=since_ms, limit=limit)
