"""The rate limits that all workers share, one transaction a method."""

from __future__ import annotations

from collections.abc import Mapping

from liteq.storage import rates as _rates
from liteq.storage.driver import Bell, Promise
from liteq.storage.facades.base import Facade
from liteq.storage.rates import Rate

__all__ = ["Rates"]


class Rates(Facade):
    """The limits on the starts of a task by all workers together."""

    def all(self) -> dict[str, Rate]:
        """The limits, by task."""
        with self._driver.read() as tx:
            return _rates.rates(tx)

    def matter(self) -> bool:
        """Whether there is such a limit, or a message that any limit holds back; a read."""
        with self._driver.read() as tx:
            return bool(_rates.rates(tx) or _rates.held_pairs(tx))

    def set(self, task: str, rate: str) -> None:
        """Limit `task` to `rate` ("100/m"; "": no limit) from now on, over restarts. Raises ValueError."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            _rates.set_rate(tx, task, rate)
        self._driver.ring(Bell.WORK)

    def declare(self, declared: Mapping[str, str | None]) -> None:
        """Take over the rates in the code, by task (None: none). Only a read when all of them are known."""
        with self._driver.read() as tx:
            known = {task: rate.declared for task, rate in _rates.rates(tx).items()}
        if any(rate != known.get(task) for task, rate in declared.items()):
            with self._driver.write(Promise.ACCEPTED) as tx:
                _rates.declare(tx, declared)
