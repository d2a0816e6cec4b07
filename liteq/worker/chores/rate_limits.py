"""A worker's rate limits: its own buckets, and the time of the next token for messages that are held back."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from math import inf
from typing import Any

from liteq.app.limits import Declared, declared_limits
from liteq.context import App
from liteq.exceptions import ImproperlyConfigured
from liteq.policy.rates import Bucket, per_second
from liteq.storage.claiming.rates import Budget
from liteq.storage.storage import Storage
from liteq.worker.chores.late_keys import LateKeys

__all__ = ["RateLimits"]

logger = logging.getLogger("liteq.worker")

LOOK_S = 1.0  # between looks whether a limit was set, or holds messages back


class RateLimits:
    """A chore of the worker's loop, and the source of each turn's budget. `look` makes the loop claim again.

    A worker without rates of its own, that knows of no message which such a one holds back, claims without a budget.
    The limits of all workers together are the storage's (`storage.limits`): here the code's are declared.
    """

    def __init__(self, app: App, storage: Storage, look: Callable[[], None]) -> None:
        self._app = app
        self._storage = storage
        self._look = look
        self._buckets: dict[str, Bucket] = {}
        self._held = False  # a message is held back by a worker's own rate: perhaps another one's
        self._look_at = 0.0  # whether limits matter
        self._token_at = inf  # when there is a token for a message that is held back
        self.reset()
        storage.limits.declare(self._declared())
        self._late = LateKeys(app)

    def _declared(self) -> Declared:
        """The shared limits that the code has. Raises ImproperlyConfigured for options that are none."""
        try:
            return declared_limits(self._app)
        except (TypeError, ValueError) as exc:
            raise ImproperlyConfigured(str(exc)) from None

    def declare_again(self) -> None:
        """Declare the limits that a file which was made anew does not know; those that it knows may be newer code's."""
        self._storage.limits.declare(self._declared(), unknown=True)

    def reset(self) -> None:
        """Take the tasks' `rate_limit` as they are now; every bucket is full. Raises ImproperlyConfigured."""
        tasks = {} if self._app.conf.worker_disable_rate_limits else self._app.tasks
        found = ((name, _checked(name, "rate_limit", task.rate_limit)) for name, task in tasks.items())
        self._buckets = {name: Bucket(rate) for name, rate in found if rate}
        self._look_at = 0.0
        self._token_at = 0.0

    # -- each turn ---------------------------------------------------------------------------------------------------

    def budget(self) -> Budget | None:
        """The budget of the next turn; None where no worker's own limit is known, and no message may lack its keys."""
        if not self._buckets and not self._held and not self._late.tasks:
            return None
        return Budget(self._buckets.get, time.monotonic(), self._late.tasks, self._late.of)

    def used(self, budget: Budget) -> None:
        """Take from the buckets the tokens that a committed turn has used."""
        for task, n in budget.used.items():
            if (bucket := self._buckets.get(task)) is not None:
                bucket.take(n, budget.now_s)
        if budget.wait_s is not None:
            self._token_at = budget.now_s + budget.wait_s

    @property
    def is_idle(self) -> bool:
        """Whether no message is known to be held back by a worker's own limit."""
        return not self._held and self._token_at == inf

    # -- the chore ---------------------------------------------------------------------------------------------------

    @property
    def due_at(self) -> float:
        return min(self._look_at, self._token_at)

    def turn(self) -> None:
        """See whether limits matter; claim again where a token has come."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self._held = self._storage.limits.own_rates_hold()
            if self._held:
                self._token_at = now  # a message that another worker held back may be for this one
        if now >= self._token_at:
            self._token_at = inf
            self._look()


def _checked(name: str, option: str, rate: Any) -> float:
    try:
        return per_second(rate)
    except ValueError as exc:
        raise ImproperlyConfigured(f"task {name!r}, {option}: {exc}") from None
