"""Exchanges, as AMQP's programs know them: their bindings, and messages that pass; one transaction a method."""

from __future__ import annotations

from liteq.storage.driver import Bell, Promise
from liteq.storage.facades.base import Facade
from liteq.storage.sending import bindings as _bindings
from liteq.storage.sending import passing as _passing
from liteq.storage.sending.bindings import KINDS, Binding
from liteq.storage.sending.passing import Passed

__all__ = ["Exchanges"]


class Exchanges(Facade):
    """Bindings and channels of programs that send to exchanges. Those of liteq name queues, and need neither."""

    # -- bindings ----------------------------------------------------------------------------------------------------

    def bind(self, exchange: str, routing_key: str, queue: str, *, kind: str = "direct") -> None:
        """Have messages of `exchange` whose routing key fits go to `queue`; nothing is written where they do already.

        `kind`: of the exchange; of a topic exchange `routing_key` is a pattern. Raises ValueError for another kind.
        """
        if kind not in KINDS:
            raise ValueError(f"an exchange of the kind {kind!r} is not kept here: use {', '.join(KINDS)}")
        one = Binding(exchange, routing_key, queue, kind)
        with self._driver.read(alone=True) as tx:
            if _bindings.is_bound(tx, one):
                return
        with self._driver.write(Promise.ACCEPTED) as tx:
            _bindings.bind(tx, one)

    def unbind(self, exchange: str, routing_key: str, queue: str) -> bool:
        """Forget one binding; whether it was there."""
        with self._driver.write(Promise.REMOVED) as tx:
            return _bindings.unbind(tx, Binding(exchange, routing_key, queue))

    def forget(self, *, queue: str | None = None, exchange: str | None = None) -> int:
        """Forget all bindings of a queue, or of an exchange; how many."""
        queues, exchanges = [] if queue is None else [queue], [] if exchange is None else [exchange]
        with self._driver.write(Promise.REMOVED) as tx:
            return _bindings.forget(tx, queues=queues, exchanges=exchanges)

    def bindings(self, exchange: str) -> list[Binding]:
        """The bindings of `exchange`, by routing key and queue."""
        with self._driver.read(alone=True) as tx:
            return _bindings.bindings(tx, exchange=exchange)

    def bound_to(self, queue: str) -> list[Binding]:
        """The bindings of `queue`, by exchange and routing key."""
        with self._driver.read(alone=True) as tx:
            return _bindings.bindings(tx, queue=queue)

    # -- messages that pass ------------------------------------------------------------------------------------------

    def listen(self, channel: str, name: str, *, patience_s: float) -> int:
        """Let `name` listen to `channel` for `patience_s` seconds, or longer by `renew`; the place to read from."""
        now_ms = self._clock.now_ms()
        with self._driver.write(Promise.PROGRESS) as tx:
            return _passing.listen(tx, channel, name, until_ms=now_ms + int(patience_s * 1000), now_ms=now_ms)

    def renew(self, channel: str, name: str, place: int, *, patience_s: float) -> bool:
        """Note that `name` still listens, and has read up to `place`; False: it was forgotten, and is to `listen` anew.

        What all listeners have read goes.
        """
        now_ms = self._clock.now_ms()
        with self._driver.write(Promise.PROGRESS) as tx:
            until_ms = now_ms + int(patience_s * 1000)
            return _passing.renew(tx, channel, name, place, until_ms=until_ms, now_ms=now_ms)

    def leave(self, name: str) -> None:
        """Let `name` listen no more, to no channel."""
        with self._driver.write(Promise.PROGRESS) as tx:
            _passing.leave(tx, name, now_ms=self._clock.now_ms())

    def send(self, channel: str, body: bytes) -> bool:
        """Send to all who listen to `channel` now; False, after a read alone, where nobody does."""
        now_ms = self._clock.now_ms()
        with self._driver.read(alone=True) as tx:
            if not _passing.is_heard(tx, channel, now_ms=now_ms):
                return False
        with self._driver.write(Promise.PROGRESS, Bell.WORK) as tx:
            return _passing.send(tx, channel, body, now_ms=now_ms)

    def newest(self) -> tuple[int | None, int | None]:
        """Numbers that change when a message has come to any channel, or a command of remote control; a read."""
        with self._driver.read(alone=True) as tx:
            return _passing.newest(tx)

    def after(self, channel: str, place: int, *, limit: int = 100) -> list[Passed]:
        """Up to `limit` messages of `channel` behind `place`, in their order; a read."""
        with self._driver.read(alone=True) as tx:
            return _passing.after(tx, channel, place, limit=limit)

    def take(self, channel: str, *, limit: int = 100) -> list[Passed]:
        """Up to `limit` messages of `channel`, which leave it: for one listener alone. A read where it is empty."""
        with self._driver.read(alone=True) as tx:
            if not _passing.after(tx, channel, 0, limit=1):
                return []
        with self._driver.write(Promise.PROGRESS) as tx:
            return _passing.take(tx, channel, limit=limit)

    def size(self, channel: str, place: int = 0) -> int:
        """How many messages of `channel` are there behind `place`."""
        with self._driver.read(alone=True) as tx:
            return _passing.size(tx, channel, place)
