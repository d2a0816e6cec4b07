"""Temporary queues and exchanges: messages that are read once, and are no tasks in the file.

Celery's remote control and its replies use them. Its events are heard in crossing/events.py. An exclusive queue, or one
with auto-delete, has a channel of its own in the file, which is emptied as it is read. The queues of a fanout exchange
read one common log, each from its own place. A binding has a mark in front of the name of such a queue, so a sender
sees from the name alone that the queue is temporary. A task is a row in these, too, and so is what is sent by the
queue's name, which tells a sender nothing.

The queues of control and events are told by their exchange, whatever they were declared as: no row comes to them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from liteq.serialization import decode, encode
from liteq.utils.records import dataclass
from liteq_kombu.crossing import control, events
from liteq_kombu.crossing.control import answers, is_control, know_revokes, requests
from liteq_kombu.crossing.events import Hearing
from liteq_kombu.envelope import inside_of, opened

if TYPE_CHECKING:
    from liteq_kombu.files import File

__all__ = ["LOG", "MARK", "Bound", "Look", "PassingQueues", "send_fanout", "send_to"]

MARK: Final = "passing:"  # in front of a queue's name, in a binding
PATIENCE_S: Final = 60.0  # a listener that has not been heard of for so long is gone
AT_ONCE: Final = 100
LOG: Final = "fanout:"
Newest = tuple[int | None, int | None]  # as `Exchanges.newest` has it
Look = Callable[[], Newest]
LOOK_S: Final = 1.0  # the longest time without a look, as a look also renews the listener


@dataclass(slots=True)
class Ear:
    """Where a queue reads: a channel of its own, or the log of an exchange from a place on."""

    channel: str
    name: str
    place: int
    renewed_at: float

    @property
    def is_log(self) -> bool:
        """Whether others read the same messages."""
        return self.channel.startswith(LOG)


class PassingQueues:
    """The temporary queues of one channel of kombu's, by name. Each reads its own channel, and logs of exchanges."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._ears: dict[str, list[Ear]] = {}
        self._hearing: dict[str, Hearing] = {}
        self._tags = count()
        self._only: set[str] = set()  # those of control, events and fanout exchanges: no row ever comes to one
        self._exclusive: set[str] = set()
        self._control: dict[str, tuple[str, int]] = {}  # of a queue for control: its exchange, the last request seen
        self._newest: Newest | None = None  # as of the last look; None: there may be more
        self._look_at = 0.0

    def __contains__(self, queue: str) -> bool:
        return queue in self._ears

    def __len__(self) -> int:
        return len(self._ears)

    @property
    def hears(self) -> bool:
        """Whether one of them hears events, which ring no bell."""
        return bool(self._hearing)

    def only_passes(self, queue: str) -> bool:
        """Whether all messages of `queue` pass. To another one that is temporary, rows come too."""
        return queue in self._only

    def are_exclusive(self, queues: Iterable[str]) -> bool:
        """Whether each of `queues` is this connection's alone, as one for answers: it is no worker's."""
        return self._exclusive.issuperset(queues)

    def declare(self, queue: str, *, only: bool = False, exclusive: bool = False) -> None:
        """Listen for `queue` from now on; `only`: no row ever comes to it."""
        self._newest = None
        if only:
            self._only.add(queue)
        if exclusive:
            self._exclusive.add(queue)
        if queue not in self._ears:
            self._ears[queue] = []
            self._listen(queue, MARK + queue)

    def bind(self, exchange: str, queue: str) -> None:
        """Have `queue` hear the fanout exchange `exchange`, too."""
        self.declare(queue, only=True)
        if is_control(self._file, exchange) and queue not in self._control:
            self._control[queue] = (exchange, self._file.storage.commands.last_seen())
            know_revokes(self._file)
        if all(ear.channel != LOG + exchange for ear in self._ears[queue]):
            self._listen(queue, LOG + exchange)

    def hear(self, queue: str, pattern: str) -> None:
        """Have `queue` hear the events whose routing key fits `pattern`, a regular expression."""
        self.declare(queue, only=True)
        self._hearing.setdefault(queue, Hearing(self._file)).bind(pattern)

    def _listen(self, queue: str, channel: str) -> None:
        place = self._file.storage.exchanges.listen(channel, queue, patience_s=PATIENCE_S)
        self._ears[queue].append(Ear(channel, queue, place, time.monotonic()))

    def have_news(self, look: Look) -> bool:
        """Whether something may have come since the last look. It costs one short read, as a busy worker asks often."""
        now, newest = time.monotonic(), look()
        if newest == self._newest and now < self._look_at and not self._file.asked:
            return any(hearing.is_due(now) for hearing in self._hearing.values())
        self._newest, self._look_at = newest, now + LOOK_S
        return True

    def look_again(self) -> None:
        """Note that there may be more than was read."""
        self._newest = None

    def read(self, queue: str) -> list[dict[str, Any]]:
        """The messages that have come for `queue`."""
        exchanges = self._file.storage.exchanges
        found = []
        for ear in self._ears.get(queue, ()):
            if ear.is_log:
                passed = exchanges.after(ear.channel, ear.place, limit=AT_ONCE)
            else:
                passed = exchanges.take(ear.channel, limit=AT_ONCE)
            if passed:
                ear.place = passed[-1].place
                found += [opened(decode(one.body), f"{queue}.{one.place}") for one in passed]
            self._renew(ear, read=bool(passed) and ear.is_log)
        if queue in self._control:
            found += self._requests(queue)
        if queue in self._hearing:
            found += [opened(one, f"{queue}.{next(self._tags)}") for one in self._hearing[queue].news()]
        if queue in self._file.asked:
            found += [opened(one, f"{queue}.liteq") for one in answers(self._file, queue)]
        return found

    def _requests(self, queue: str) -> list[dict[str, Any]]:
        """The requests of liteq's callers since the last look."""
        exchange, last = self._control[queue]
        found = []
        for number, message in requests(self._file, exchange, last):
            self._control[queue] = (exchange, number)
            if message:
                found.append(opened(message, f"{queue}.{number}"))
        return found

    def _renew(self, ear: Ear, *, read: bool) -> None:
        """Note in the file that `ear` still listens, and how far it has read. What all have read is deleted."""
        silent_s = time.monotonic() - ear.renewed_at
        if silent_s < PATIENCE_S / 3 and not (read and silent_s > 1):
            return
        exchanges = self._file.storage.exchanges
        if not exchanges.renew(ear.channel, ear.name, ear.place, patience_s=PATIENCE_S):
            ear.place = exchanges.listen(ear.channel, ear.name, patience_s=PATIENCE_S)
        ear.renewed_at = time.monotonic()

    def leave(self, queue: str) -> None:
        """Listen no more for `queue`, and forget its bindings."""
        self._only.discard(queue)
        self._exclusive.discard(queue)
        self._control.pop(queue, None)
        self._hearing.pop(queue, None)
        self._file.asked.pop(queue, None)
        if self._ears.pop(queue, None) is not None:
            self._file.storage.exchanges.leave(queue)
            self._file.storage.exchanges.forget(queue=MARK + queue)

    def close(self) -> None:
        """Listen no more."""
        for queue in list(self._ears):
            self.leave(queue)


def _body(message: Mapping[str, Any]) -> bytes:
    return encode(inside_of(message), what="a message of kombu's")


def send_fanout(file: File, exchange: str, message: Mapping[str, Any]) -> bool:
    """Send to all queues of a fanout exchange; whether somebody listens."""
    return file.storage.exchanges.send(LOG + exchange, _body(message))


def send_to(file: File, marked: str, message: Mapping[str, Any]) -> bool:
    """Send to a temporary queue, by its name with the mark. Where its consumer is gone, its bindings are deleted."""
    if file.storage.exchanges.send(marked, _body(message)):
        return True
    file.storage.exchanges.forget(queue=marked)
    return False


class Bound:
    """The part of `Channel` that declares and binds queues, and finds those to which a message goes."""

    _file: File
    _passing: PassingQueues
    deadletter_queue: Any
    state: Any
    exchange_types: Any
    typeof: Any
    _size: Any
    _purge: Any

    def _new_queue(self, queue: str, auto_delete: bool = False, exclusive: bool = False, **kwargs: Any) -> None:
        if auto_delete or exclusive:
            self._passing.declare(queue, exclusive=exclusive)

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str | None, queue: str) -> None:
        kind = self.typeof(exchange).type
        if kind == "fanout":
            self._passing.bind(exchange, queue)
        elif events.is_events(exchange):
            self._passing.hear(queue, self.exchange_types["topic"].key_to_pattern(routing_key or "#"))
        else:
            if control.is_answers(exchange):
                self._passing.declare(queue, only=True)
            marked = MARK + queue if queue in self._passing else queue
            self._file.storage.exchanges.bind(exchange, routing_key or "", marked, kind=kind)

    def get_table(self, exchange: str) -> list[tuple[str, str | None, str]]:
        """The bindings of `exchange`, of all processes: routing key, pattern, queue."""
        found = []
        for one in self._file.storage.exchanges.bindings(exchange):
            pattern = self.exchange_types["topic"].key_to_pattern(one.routing_key) if one.kind == "topic" else None
            found.append((one.routing_key, pattern, one.queue))
        return found

    def _lookup(self, exchange: str, routing_key: str, default: str | None = None) -> list[str]:
        if routing_key and routing_key.startswith(control.ANSWER):
            return [routing_key]  # to no queue: a request of liteq's is answered
        if exchange and events.is_events(exchange):
            return [events.EVENTS]  # likewise
        if exchange and exchange not in self.state.exchanges and not self.deadletter_queue:
            return self._of_others(exchange, routing_key or "")
        found: list[str] = super()._lookup(exchange, routing_key, default)  # type: ignore[misc]
        return found

    def _of_others(self, exchange: str, routing_key: str) -> list[str]:
        """The queues of an exchange that this connection has not declared: the bindings of others tell its kind.

        A fanout exchange has none, but a log that its listeners read.
        """
        found = [
            queue
            for key, pattern, queue in self.get_table(exchange)
            if (key == routing_key if pattern is None else re.match(pattern, routing_key))
        ]
        return found or [LOG + exchange]

    def queue_unbind(
        self, queue: str, exchange: str | None = None, routing_key: str = "", *args: Any, **kwargs: Any
    ) -> None:
        """Forget a binding, in the file, too."""
        self.state.binding_delete(queue, exchange, routing_key)
        for name in (queue, MARK + queue):
            self._file.storage.exchanges.unbind(exchange or "amq.direct", routing_key or "", name)

    def queue_delete(self, queue: str, if_unused: bool = False, if_empty: bool = False, **kwargs: Any) -> None:
        """Purge a queue, and forget its bindings."""
        if if_empty and self._size(queue):
            return
        self._passing.leave(queue)
        self._purge(queue)
        self._file.storage.exchanges.forget(queue=queue)
        self.state.queue_bindings_delete(queue)
