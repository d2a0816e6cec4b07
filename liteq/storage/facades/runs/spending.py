"""Limits and budgets of steps: taken before they begin, and told behind them what was spent, refused, or failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from liteq.clock import Clock
from liteq.message import Hold
from liteq.storage.driver import Driver, Promise, Transaction
from liteq.storage.facades.base import Facade
from liteq.storage.limits import stepping as _stepping
from liteq.storage.limits import trouble as _trouble
from liteq.storage.limits.rules import Cache, Rules, version
from liteq.storage.limits.stepping import Taken
from liteq.storage.runs import executing as _executing
from liteq.storage.spending import reserving as _reserving
from liteq.storage.spending import settling as _settling
from liteq.storage.spending import usage as _usage
from liteq.storage.spending.kinds import Attempt, Warned
from liteq.storage.spending.reserving import Answer, Wanted
from liteq.storage.spending.settling import Settled, Spent

__all__ = ["RunSpending"]

LOOK_S = 30.0  # between two looks at what other processes have learnt of steps


class RunSpending(Facade):
    """The limits and the budgets of steps, by the process that executes their run. LeaseLost: nothing was written."""

    def __init__(self, driver: Driver, clock: Clock) -> None:
        super().__init__(driver, clock)
        self._limits = Cache()
        self._spenders: dict[str, bool] | None = None
        self._look_at_s = 0.0

    def _rules(self, tx: Transaction) -> Rules:
        return self._limits.rules(tx, version(tx))

    @property
    def spenders(self) -> dict[str, bool]:
        """Whether a step spends, by its name, as far as this process knows: read now and then, and added to by it."""
        now_s = self._clock.monotonic()
        if self._spenders is None or now_s >= self._look_at_s:
            with self._driver.read(alone=True) as tx:
                self._spenders = {**(self._spenders or {}), **_reserving.spenders(tx)}
            self._look_at_s = now_s + LOOK_S
        return self._spenders

    def take_places(self, hold: Hold, keys: Sequence[str], *, again: bool = False) -> Taken:
        """Take a place and a token under each of `keys` for a step, all or none; else what lacks. Raises LeaseLost.

        `again`: the step was sent, and has its places: tokens alone, for one more attempt.
        """
        with self._driver.write(Promise.PROGRESS) as tx:
            _executing.hold_on(tx, hold)
            return _stepping.take(tx, self._rules(tx), hold, keys, again=again, now_ms=self._clock.now_ms())

    def begin(
        self, hold: Hold, keys: Sequence[str], attempt: Attempt, wanted: Wanted, *, again: bool = False
    ) -> tuple[Taken, Answer]:
        """As `take_places`, and reserve what an attempt may spend, all in one: or else what lacks. Raises LeaseLost.

        Where something lacks, nothing is taken; a request to a person is written all the same.
        """
        with self._driver.write(Promise.PROGRESS) as tx:
            _executing.hold_on(tx, hold)
            now_ms, taken = self._clock.now_ms(), Taken()
            answer = _reserving.reserve(tx, hold, attempt, wanted, now_ms=now_ms)
            if answer.exceeded is not None or answer.waits is not None or not keys:
                return taken, answer
            tokens = _reserving.estimate(wanted, _reserving.most(tx, attempt.name)).tokens
            taken = _stepping.take(tx, self._rules(tx), hold, keys, again=again, now_ms=now_ms, tokens=tokens)
            if taken.lacks is not None:
                _settling.give_back(tx, hold, attempt, now_ms=now_ms)
            elif taken.tokens:
                _reserving.note_tokens(tx, hold, attempt, taken.tokens)
                answer = answer._replace(reserved=True)
            return taken, answer

    def track(self, hold: Hold, attempt: Attempt, tokens: Sequence[tuple[str, int]]) -> None:
        """Have a row stand for an attempt that spends, although nobody knew that before: a kill is told then.

        `tokens`: of a model's, that limits have counted beforehand.
        """
        with self._driver.write(Promise.PROGRESS) as tx:
            _executing.hold_on(tx, hold)
            _reserving.track(tx, hold, attempt, tokens)

    def spent(self, hold: Hold, spent: Spent, warn: Callable[[Sequence[Warned]], None]) -> None:
        """Write what an attempt without a record has spent, and give back what was held for it. Raises LeaseLost."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            _executing.hold_on(tx, hold)
            settled = self._settle(tx, hold, spent)
        self._ring(work=settled.woke)
        if settled.warned:
            warn(settled.warned)

    def give_back(self, hold: Hold, attempt: Attempt) -> None:
        """Free what is held for an attempt that does not count. Raises LeaseLost."""
        with self._driver.write(Promise.PROGRESS) as tx:
            _executing.hold_on(tx, hold)
            woke = _settling.give_back(tx, hold, attempt, now_ms=self._clock.now_ms())
        self._ring(work=woke)

    def _settle(self, tx: Transaction, hold: Hold, spent: Spent) -> Settled:
        now_ms = self._clock.now_ms()
        settled = _settling.settle(tx, hold, spent, now_ms=now_ms)
        if settled.tokens:
            used = _usage.total(spent.spends).tokens if not spent.memo else 0
            _stepping.settle_tokens(tx, self._rules(tx), settled.tokens, used, now_ms=now_ms)
        return settled

    def leave_places(self, hold: Hold, keys: Sequence[str]) -> None:
        """Give the places back that `take_places` has taken: the step has ended."""
        with self._driver.write(Promise.PROGRESS) as tx:
            woke = _stepping.leave(tx, hold, keys, now_ms=self._clock.now_ms())
        self._ring(work=woke)

    # -- the other side ----------------------------------------------------------------------------------------------

    def refused(self, key: str, wait_s: float | None) -> int:
        """Pause `key`: the other side asked for it; None: it named no time. When that is over, in ms."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            return _trouble.refused(tx, key, wait_s, now_ms=self._clock.now_ms())

    def failed(self, keys: Sequence[str]) -> bool:
        """Count a failure under `keys`; whether one of them fails so often that only probes go through now."""
        with self._driver.write(Promise.PROGRESS) as tx:
            return _trouble.failed(tx, keys, now_ms=self._clock.now_ms())

    def passed(self, keys: Sequence[str]) -> None:
        """Note a success under `keys`: only a read where none of them is in trouble."""
        with self._driver.read() as tx:
            found = _trouble.troubled(tx, keys, now_ms=self._clock.now_ms())
        if found:
            with self._driver.write(Promise.PROGRESS) as tx:
                woke = _trouble.passed(tx, found, now_ms=self._clock.now_ms())
            self._ring(work=woke)

    def is_shut(self, keys: Sequence[str]) -> bool:
        """Whether one of `keys` is paused, or fails and is probed by another step; a read."""
        with self._driver.read() as tx:
            return _trouble.is_shut(tx, keys, now_ms=self._clock.now_ms())
