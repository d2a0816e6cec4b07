"""Limits by key. One transaction a method, but for what waits for many keys: that is a chunk each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import inf

from liteq.storage.claiming import rates as _rates
from liteq.storage.claiming.rates import Budget
from liteq.storage.driver import Bell, Promise, Transaction
from liteq.storage.facades.base import Facade
from liteq.storage.limits import change as _change
from liteq.storage.limits import keys as _keys
from liteq.storage.limits import looking as _looking
from liteq.storage.limits import meeting as _meeting
from liteq.storage.limits import rules as _rules
from liteq.storage.limits.kinds import Limit
from liteq.storage.operating import audit as _audit
from liteq.storage.operating.audit import Actor

__all__ = ["Limits"]

Declared = Mapping[str, tuple[str | float | None, int | None] | tuple[str | float | None, int | None, str | None]]
CHUNK = 1_000
LOOK_S = 1.0  # between looks whether a worker's own rate holds messages back


class Limits(Facade):
    """How much of a key may run at once and start in a time, over all workers.

    Keys: "user:42", "task:NAME", "queue:NAME". A key with `*` holds for each key that fits, counted apart; the exact
    one wins. `by`, of each act: for the audit, where it changes something; None: it is not noted.
    """

    _look_at, _held = -inf, False  # of `unlimited`

    def set(
        self, key: str, rate: str | float | None = None, concurrent: int | None = None, tokens: str | None = None, *,
        by: Actor | None = None,
    ) -> None:  # fmt: skip
        """Limit `key` to `rate` ("100/m") and to `concurrent` at once, from now on, over restarts; None: no such limit.

        `tokens`: of models, that steps tell by `ctx.spend`, "200k/m". What runs already counts. It stands until the
        code declares something else than now. Raises ValueError for a key, a rate or a number that is none.
        """
        text = _rules.check(key, rate, concurrent, tokens)
        with self._driver.write(Promise.ACCEPTED) as tx:
            _keys.lock(tx)  # claims of that moment count, and another change of this key waits for this one
            self._set(tx, key, text, concurrent, tokens)
            self._note(tx, by, "set", key)
        self._changed([key])

    def set_rate(self, key: str, rate: str | float | None) -> None:
        """As `set`, of the rate alone."""
        text = _rules.check(key, rate, None)
        with self._driver.write(Promise.ACCEPTED) as tx:
            _keys.lock(tx)
            before = _rules.read(tx).by_key.get(key)
            concurrent, tokens = (None, None) if before is None else (before.concurrent, before.tokens)
            self._set(tx, key, text, concurrent, tokens)
        self._changed([key])

    def _set(self, tx: Transaction, key: str, rate: str | None, concurrent: int | None, tokens: str | None) -> None:
        now_ms = self._clock.now_ms()
        _rules.write(tx, key, rate, concurrent, tokens, now_ms=now_ms)
        _keys.begin_anew(tx, key)
        _change.place_running(tx, [key], now_ms=now_ms)

    def declare(self, declared: Declared, *, unknown: bool = False) -> None:
        """Take over the limits in the code: key -> (rate, concurrent, tokens), all None where it has none any more.

        What was set at run time stands until the code says something new. Only a read where all of it is known.
        `unknown`: take over only those of which the file knows nothing. Raises ValueError.
        """
        wanted = {}
        for key, limit in declared.items():
            rate, concurrent, tokens = (*limit, None)[:3]
            wanted[key] = (_rules.check(key, rate, concurrent, tokens), concurrent, tokens)
        with self._driver.read() as tx:
            known = {key: rule.declared for key, rule in _rules.read(tx).by_key.items()}
        if unknown:
            wanted = {key: limit for key, limit in wanted.items() if key not in known}
        if all(_rules.document(*limit) == known.get(key) for key, limit in wanted.items()):
            return
        with self._driver.write(Promise.ACCEPTED) as tx:
            _keys.lock(tx)
            now_ms = self._clock.now_ms()
            if unknown:  # newer code may have declared some since that look
                there = _rules.read(tx).by_key
                wanted = {key: limit for key, limit in wanted.items() if key not in there}
            fresh = _rules.write_declared(tx, wanted, now_ms=now_ms)
            for key in fresh:
                _keys.begin_anew(tx, key)
            _change.place_running(tx, fresh, now_ms=now_ms)
        self._changed(fresh)

    def delete(self, key: str, *, by: Actor | None = None) -> bool:
        """Forget a limit: what it holds goes on, in its order. False where there is none of this key."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            _keys.lock(tx)
            now_ms = self._clock.now_ms()
            gone = _rules.delete(tx, key, now_ms=now_ms)
            if gone:  # what runs has its place under the limit that holds now
                _change.place_running(tx, _rules.read(tx).by_key, now_ms=now_ms)
                self._note(tx, by, "delete", key)
        if gone:
            self._changed([key])
        return gone

    def pause(self, key: str, seconds: float, reason: str = "", *, by: Actor | None = None) -> None:
        """Let nothing of `key` start for so long; then it goes on slowly. Of several pauses, that which ends last."""
        _rules.check(key, None, None)
        with self._driver.write(Promise.ACCEPTED) as tx:
            now_ms = self._clock.now_ms()
            _meeting.pause(tx, key, until_ms=now_ms + int(seconds * 1000), reason=reason, now_ms=now_ms)
            self._note(tx, by, "pause", key)

    def resume(self, key: str, *, by: Actor | None = None) -> bool:
        """End the pause of `key` at once; False where it is not paused."""
        with self._driver.write(Promise.ACCEPTED) as tx:
            resumed = _keys.resume(tx, key, now_ms=self._clock.now_ms())
            if resumed:
                self._note(tx, by, "resume", key)
        if resumed:
            self._changed([key])
        return resumed

    def _note(self, tx: Transaction, by: Actor | None, action: str, key: str) -> None:
        if by is not None:
            queue = _rules.queue_of(key)
            _audit.write(tx, by, f"limit {action}", key, queue, 1, now_ms=self._clock.now_ms())

    def _changed(self, keys: Sequence[str]) -> None:
        """Have what the keys hold looked at: in chunks, as a pattern may stand for many."""
        for key in keys:
            after: str | None = ""
            while after is not None:
                with self._driver.write(Promise.PROGRESS) as tx:
                    after = _change.look_at_held(tx, key, after, now_ms=self._clock.now_ms())
        self._driver.ring(Bell.WORK)

    def get(self, key: str) -> Limit:
        """The limit of `key`, or the one that holds for it."""
        with self._driver.read() as tx:
            return _looking.limit(tx, key, now_ms=self._clock.now_ms())

    def list(self) -> Sequence[Limit]:
        """The limits that are set, and the keys that are paused, by key."""
        with self._driver.read() as tx:
            return _looking.limits(tx, now_ms=self._clock.now_ms())

    def own_rates_hold(self) -> bool:
        """Whether a worker's own rate holds a message back; a read."""
        with self._driver.read() as tx:
            return bool(_rates.held_pairs(tx))

    def unlimited(self) -> Budget | None:
        """The budget of a claim by a worker without rates; None while no worker's own rate holds a message back.

        Without one such messages are not looked at. It may be asked at each claim: it looks once in LOOK_S.
        """
        now = self._clock.monotonic()
        if now >= self._look_at:
            self._look_at, self._held = now + LOOK_S, self.own_rates_hold()
        return Budget(lambda _: None, now) if self._held else None

    def tidy(self) -> None:
        """Forget keys that hold nothing back any more."""
        for _ in self.tidying():
            pass

    def tidying(self) -> Iterator[None]:
        """As `tidy`, a transaction at a step. Only a read where there never was a limit."""
        with self._driver.read() as tx:
            if not _rules.version(tx):
                return
        full = True
        while full:
            with self._driver.write(Promise.PROGRESS) as tx:
                full = _change.prune(tx, now_ms=self._clock.now_ms(), limit=CHUNK) >= CHUNK
            yield
