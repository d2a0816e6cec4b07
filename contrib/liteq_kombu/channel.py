"""kombu's channel on a liteq file: publish is enqueue, consume is claim, an ack or a reject settles.

The delivery tag is `seq.token`, the lease's number and fencing token: an ack that comes too late hits nothing.

An ack of a task whose result is kept in the file writes nothing: the process that ran it has settled it, result and
ack in one, or is about to (running.py). Where results are elsewhere, and for messages that are no tasks, the ack ends
the row.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from queue import Empty
from typing import TYPE_CHECKING, Any

from kombu.transport import virtual

from liteq.exceptions import ChordError, LiteqError, Reject, StorageFull, WorkerLostError
from liteq.message import Ack, DeadLetter, Flag, Lease, Outcome, Release
from liteq.serialization import encode_error, kind_of
from liteq.storage.groups.append_members import GIVE_UP
from liteq_kombu import running
from liteq_kombu.crossing import control, events
from liteq_kombu.envelope import FACTS, is_task, payload_of, row_of
from liteq_kombu.passing import LOG, MARK, Bound, Look, PassingQueues, send_fanout, send_to
from liteq_kombu.replacing import replaces, send
from liteq_kombu.taking import args_of, as_called, taking_here

if TYPE_CHECKING:
    from liteq_kombu.files import File

__all__ = ["Channel", "QoS"]

logger = logging.getLogger("liteq.kombu")

AT_ONCE = 16  # claimed by one look of a consumer without a prefetch limit
NO_TASK = Flag.RUN | Flag.ON_FAILURE  # of Celery's: a workflow, and an errback, which may become another call
ELSEWHERE_MS = 1_000  # until others may have what Celery's worker cannot run
GONE_WRONG = "its consumer has rejected it"
LOST = "its process ended, or ran out of time, without an outcome"
NOT_WHOLE = "group {} was not sent as a whole: its sender ended, or raised, in the middle of it"
Delivered = tuple[dict[str, Any], str]  # a message as kombu has it, and its queue


class QoS(virtual.QoS):
    """The messages that a channel has delivered and not seen acknowledged, and the end of each."""

    def __init__(self, channel: Channel, prefetch_count: int = 0) -> None:
        self._pid = os.getpid()
        super().__init__(channel, prefetch_count)

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message; there is room for another one."""
        super().ack(delivery_tag)
        self.channel.acknowledge(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Give a message back, or make a dead letter of it."""
        self._quick_ack(delivery_tag)
        self.channel.reject(delivery_tag, requeue=requeue)

    def restore_unacked(self) -> list[Any]:
        """Give back everything that is not acknowledged."""
        self._flush()
        tags = list(self._delivered)
        self._delivered.clear()
        if tags and self._pid == os.getpid():
            self.channel.give_back(tags)
        return []

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Give back everything at the end; a forked child leaves alone what its parent has."""
        self._on_collect.cancel()
        if self._pid == os.getpid() and not getattr(self._delivered, "restored", False):
            self.restore_unacked()
        self._delivered.restored = True


class Channel(Bound, virtual.Channel):
    """A channel of a connection to one file."""

    QoS = QoS
    body_encoding = None  # text stays text, and bytes are encoded where they become a row
    do_restore = True
    supports_fanout = True
    from_transport_options = ("deadletter_queue",)

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        super().__init__(connection, **kwargs)
        self._file: File = connection.file
        self._pid = os.getpid()
        self._ready: deque[Delivered] = deque()  # claimed and not delivered yet
        self._passing = PassingQueues(self._file)
        self._without_ack: set[str] = set()
        self._turns = 0
        self._more = True  # the last look did not ask for all that there may be, or got as much as it asked for
        self.due_ms: int | None = None  # when the next message of the file comes due, as of the last look

    # -- publish -----------------------------------------------------------------------------------------------------

    def _put(self, queue: str, message: Mapping[str, Any], **kwargs: Any) -> None:
        if queue.startswith(LOG):
            send_fanout(self._file, queue.removeprefix(LOG), message)
            return
        if queue.startswith(MARK):
            if not is_task(message.get("headers") or {}):
                send_to(self._file, queue, message)
                return
            queue = queue.removeprefix(MARK)  # its row waits for whoever consumes, and is its result
        if queue.startswith(control.ANSWER):
            control.answer(self._file, queue, message)
            return
        if queue == events.EVENTS:
            events.put(self._file, message)
            return
        row = row_of(message, queue, lower_first=self._file.options.lower_first, results=self._file.results)
        taken = taking_here(self._file)
        if taken is not None:
            taken.put(row)
        elif not running.continues(self._file, row, message) and not replaces(self._file, row):
            send(self._file, row)

    def _put_fanout(self, exchange: str, message: Mapping[str, Any], routing_key: str, **kwargs: Any) -> None:
        control.ask(self._file, exchange, message)
        send_fanout(self._file, exchange, message)

    # -- consume -----------------------------------------------------------------------------------------------------

    def basic_consume(self, queue: str, no_ack: bool, *args: Any, **kwargs: Any) -> Any:
        """Deliver the messages of `queue` from now on; with `no_ack` each is settled when it is claimed."""
        if no_ack:
            self._without_ack.add(queue)
        running.look_for_results(self._file)
        consuming = super().basic_consume(queue, no_ack, *args, **kwargs)
        self.connection.wake()
        return consuming

    def basic_cancel(self, consumer_tag: str) -> None:
        """Deliver no more to this consumer; other processes are told that its queue is left."""
        queue = self._tag_to_queue.get(consumer_tag)
        super().basic_cancel(consumer_tag)
        if queue is not None and (holder := self._file.held) is not None and holder.leave_queue(queue):
            self.connection.wake()  # another channel that takes from it says so again

    def basic_qos(self, *args: Any, **kwargs: Any) -> None:
        """Change how many messages may be delivered and not acknowledged."""
        super().basic_qos(*args, **kwargs)
        self.connection.wake()

    def drain_events(self, timeout: float | None = None, callback: Callable[..., Any] | None = None) -> None:
        """Deliver what may be delivered now, by this channel alone. Raises Empty where that is nothing."""
        if not self.connection.deliver([self], callback):
            raise Empty

    def look(self) -> None:
        """Claim what fits, to be delivered."""
        if not self._consumers:
            return
        self._more = True  # before the room is counted: what an acknowledgement frees meanwhile has it look again
        self.due_ms = None  # without room nothing that comes due is taken: an acknowledgement has it look again
        if (limit := self._room()) and not self._ready and (queues := self._queues()):  # who only listens is no worker
            self._claim(queues, limit)

    def _room(self) -> int:
        """How many messages to claim; 0 while that is less than half of what fits, and each place has a task.

        A claim of several costs little more than one of one. An acknowledgement has it look again.
        """
        most = self.qos.prefetch_count
        if not most:
            return AT_ONCE
        room, node = min(self.qos.can_consume_max_estimate() or 0, 4 * AT_ONCE), self._file.node
        return room if 2 * room >= most or node is None or node.idles(len(self._ready)) else 0

    @property
    def hears(self) -> bool:
        """Whether it hears events, which ring no bell."""
        return self._passing.hears

    def deliver_passing(self, callback: Callable[[dict[str, Any], str], Any], newest: Look) -> int:
        """Deliver the messages that pass, as those of remote control; how many. `newest`: of the file's exchanges."""
        if not self._consumers or not self._passing or not self._passing.have_news(newest):
            return 0
        found = [(one, queue) for queue in self._active_queues for one in self._passing.read(queue)]
        for payload, queue in found:
            callback(payload, queue)
        if found:
            self._passing.look_again()
            self.connection.wake()
        return len(found)

    def deliver_ready(self, callback: Callable[[dict[str, Any], str], Any]) -> int:
        """Deliver what has been claimed; how many messages."""
        delivered = 0
        if self._ready and (tags := self._taken_out(self._active_queues)):  # a consumer has been cancelled since
            self.give_back(tags)
        while self._consumers and self._ready and self.qos.can_consume():
            payload, queue = self._ready.popleft()
            delivered += 1
            self._file.holder.deliver(payload["properties"]["delivery_tag"])
            callback(payload, queue)
        if delivered and self._more and self._room():
            self.connection.wake()  # there may be more
        return delivered

    def _taken_out(self, queues: Sequence[str]) -> list[str]:
        """Take out what has been claimed and is of none of `queues`; the tags."""
        tags = [payload["properties"]["delivery_tag"] for payload, queue in self._ready if queue not in queues]
        self._ready = deque(one for one in self._ready if one[1] in queues) if tags else self._ready
        return tags

    def _queues(self) -> list[str]:
        """The queues of rows that are consumed from, another one first each time: none of them waits for the rest.

        Who waits for answers alone is no worker before one has come as a row.
        """
        queues = [queue for queue in dict.fromkeys(self._active_queues) if not self._passing.only_passes(queue)]
        if not queues:
            return []
        if self._passing.are_exclusive(queues) and not self._file.storage.reader.waiting(queues, limit=1):
            return []
        self._turns += 1
        first = self._turns % len(queues)
        return queues[first:] + queues[:first]

    def _get(self, queue: str, timeout: float | None = None) -> dict[str, Any]:
        """The next message of `queue`, on the caller's own account. Raises Empty."""
        self._claim([queue], 1)
        if not self._ready:
            raise Empty
        return self._ready.popleft()[0]

    def basic_get(self, queue: str, no_ack: bool = False, **kwargs: Any) -> Any:
        """The next message of `queue`; None where there is none."""
        running.look_for_results(self._file)
        message = super().basic_get(queue, no_ack=no_ack, **kwargs)
        if message is not None and no_ack:
            self.acknowledge(message.delivery_tag, end=True)
        return message

    def _claim(self, queues: Sequence[str], limit: int) -> None:
        """Claim up to `limit` messages; what Celery cannot run goes back at once."""
        file = self._file
        worker = file.holder.number(queues)
        if file.short:
            return
        ear, visibility_s = self.connection.ear, file.options.visibility_timeout
        try:
            turn = file.storage.turn(
                (), queues, worker=worker, limit=limit, visibility_s=visibility_s, begins=self._beginning,
                expectant=ear is not None and ear.expectant, budget=file.storage.limits.unlimited(),
            )  # fmt: skip
        except StorageFull as exc:
            file.out_of_space(exc)
            return
        if ear is not None:
            ear.claimed(len(turn.leases))
        self.due_ms = turn.due_ms
        self._more = len(turn.leases) >= limit  # else there is no more, and the bell rings when there is
        settled: list[tuple[Lease, Outcome]] = []
        for lease in turn.leases:
            payload = self._payload(lease)
            if isinstance(payload, dict):
                if lease.queue in self._without_ack and not self._runs(payload):
                    payload["properties"].pop(FACTS, None)  # its row ends here: nothing of it is under a lease
                    settled.append((lease, Ack()))
                else:
                    tag = payload["properties"]["delivery_tag"]
                    file.holder.hold(tag, lease, task=FACTS in payload["properties"])
                self._ready.append((payload, lease.queue))
            else:
                settled.append((lease, payload))
        if settled:
            file.storage.settle(settled)

    def _runs(self, payload: dict[str, Any]) -> bool:
        """Whether a process of this worker runs the message, and settles it: a queue without acks changes nothing."""
        return self._file.node is not None and self._file.results and FACTS in payload["properties"]

    def _beginning(self, leases: Sequence[Lease]) -> list[Lease]:
        """Those of `leases` that are acknowledged before they run, and for which a process of this worker is free.

        So they begin in the transaction that claims them. Those behind them begin in one of their own, later.
        """
        node = self._file.node
        if node is None or not self._file.results:
            return []
        first = leases[: max(node.free() - len(self._ready), 0)]
        own = (one for one in first if one.queue not in self._without_ack and not one.flags & NO_TASK)
        return [one for one in own if node.begins_at_once(one.task)]

    def _payload(self, lease: Lease) -> dict[str, Any] | Outcome:
        """The message of `lease`; what becomes of it at once where Celery has no form for it."""
        file = self._file
        if lease.task == GIVE_UP:
            return DeadLetter(encode_error(ChordError(NOT_WHOLE.format(lease.group_id))))
        why = "it is a durable workflow, and runs in liteq's workers" if lease.flags & Flag.RUN else ""
        try:
            beside = not lease.payload
            if beside and not why:
                lease = file.storage.reader.with_payload(lease)
            kind = kind_of(lease.payload) or kind_of(lease.options or b"{}")
            if kind is not None:
                why = f"its content, {kind}, is read by liteq's workers"
            if not why:
                lease = as_called(file, lease)
                args = args_of(file, lease)
                lower = file.options.lower_first
                return payload_of(lease, file.where, lower_first=lower, beside=beside, args=args)
        except (LiteqError, ValueError, KeyError, TypeError) as exc:
            why = f"it cannot be read: {exc}"
        running.say_once(f"{lease.task} {why}", "Task %s[%s] is left to others: %s", lease.task, lease.id, why)
        return Release(pause_ms=ELSEWHERE_MS, options=lease.options, elsewhere=True)

    # -- the end of a message ----------------------------------------------------------------------------------------

    def acknowledge(self, tag: str, *, end: bool = False) -> None:
        """End the message where nobody else does; `end`: in any case. Wakes the consumer, which has room for more."""
        holder = self._file.held
        lease = holder.get(tag) if holder is not None else None
        if lease is not None and holder is not None and (end or not self._file.results or not holder.is_task(tag)):
            holder.drop(tag)
            self._file.storage.settle([(lease, Ack())])
        if self._more and self.connection is not None and self._room():
            self.connection.wake()

    def reject(self, tag: str, *, requeue: bool) -> None:
        """Give the message back, counted as a crash; or make a dead letter of it.

        What is rejected because its task is unknown is left to a living worker of its queue that knows the task.
        """
        holder = self._file.held
        lease = holder.drop(tag) if holder is not None else None
        if lease is not None:
            missing = running.unknown_task(self._file, lease)
            # A task that wants its message once more has said so itself (running.note_end).
            lost = WorkerLostError(LOST) if requeue else Reject(GONE_WRONG, requeue=False)
            error = encode_error(missing or lost)
            left = running.left_to_another(self._file, lease) if missing is not None and not requeue else None
            outcome: Outcome = left or (Release(crashed=True, error=error) if requeue else DeadLetter(error))
            if not self._file.storage.settle([(lease, outcome)]):
                self._file.counter.settled(lease, outcome)
        if self.connection is not None:
            self.connection.wake()

    def give_back(self, tags: Sequence[str]) -> None:
        """Put back into their queues, as they were, what was delivered under `tags`."""
        holder = self._file.held
        if holder is not None:
            leases = [lease for tag in tags if (lease := holder.drop(tag)) is not None]
            if leases:
                self._file.storage.settle([(lease, Release()) for lease in leases])

    def close(self) -> None:
        """Close it; what it has claimed and not delivered, or not seen acknowledged, goes back."""
        if not self.closed:
            waiting = self._taken_out(())
            try:
                if self._pid == os.getpid():
                    self.give_back(waiting)
                    self._passing.close()
            except (LiteqError, OSError) as exc:
                logger.warning("%d messages come back when their leases run out: %s", len(waiting), exc)
        super().close()

    # -- queues ------------------------------------------------------------------------------------------------------

    def _size(self, queue: str) -> int:
        return self._file.storage.reader.waiting([queue], limit=1_000_000)

    def _purge(self, queue: str) -> int:
        return self._file.storage.purge([queue])
