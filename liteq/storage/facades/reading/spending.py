"""Usage, and budgets that are shared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from liteq.storage.driver import Promise
from liteq.storage.facades.base import Facade
from liteq.storage.spending import accounts as _accounts
from liteq.storage.spending import setting as _setting
from liteq.storage.spending import usage as _usage
from liteq.storage.spending.kinds import Account, Limit
from liteq.storage.spending.usage import Sum

__all__ = ["Spending"]


class Spending(Facade):
    """Usage, and the budgets of tags. Money is in units of 1e-10."""

    def of_run(self, run_id: str) -> list[Sum] | None:
        """The spending of a run and of all that it has started, by source and model; None where there is none."""
        with self._driver.read() as tx:
            return _usage.of_tree(tx, run_id)

    def since(self, by: str, since_ms: int = 0) -> list[Sum]:
        """The spending from a time on, by "model", "workflow", "day" (days since 1970) or "tag" (JSON arrays)."""
        with self._driver.read(alone=True) as tx:
            return _usage.since(tx, by, since_ms)

    def set(self, key: str, limits: Sequence[Limit]) -> None:
        """Set the budget of a tag, in force at once; what is spent and held of it counts on in the same period."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            woke = _setting.write(tx, key, limits, now_ms=self._clock.now_ms())
        self._ring(work=woke)

    def declare(self, declared: Mapping[str, Sequence[Limit]]) -> None:
        """Take over the budgets in the code; what was set at run time stands until the code says something else."""
        with self._driver.read() as tx:
            known = _setting.declared(tx)
        if any(_setting.document(limits) != known.get(key) for key, limits in declared.items()):
            with self._driver.write(Promise.ACCEPTED) as tx:
                _setting.declare(tx, declared, now_ms=self._clock.now_ms())

    def list(self) -> list[Account]:
        """The limits of the shared budgets, by key."""
        with self._driver.read() as tx:
            return _accounts.shared(tx, now_ms=self._clock.now_ms())

    def delete(self, key: str) -> bool:
        """Forget the budget of a tag; False where there is none."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            gone = _setting.delete(tx, key, now_ms=self._clock.now_ms())
        self._ring(work=gone)
        return gone
