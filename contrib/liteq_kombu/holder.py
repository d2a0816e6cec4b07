"""The leases of a consumer's process: held, extended by a thread, given up when they are over.

The process enters the file's list of workers with its first lease. So its leases end when it dies, as any worker's do,
and its thread does for others what a worker's does: it ends what the dead have left, and clears away old results.
"""

from __future__ import annotations

import atexit
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterable
from math import inf
from typing import TYPE_CHECKING, Any

from liteq.context.identity import expand_name, me
from liteq.exceptions import StorageError
from liteq.message import Lease
from liteq.worker.chores.heartbeat import Heartbeat
from liteq_kombu.crossing import events

if TYPE_CHECKING:
    from liteq_kombu.files import File

__all__ = ["Holder"]

logger = logging.getLogger("liteq.kombu")

LOOK_S = 2.0  # between two looks of the thread, where neither a lease nor the net needs it sooner
LEAST_NET_S = 0.05  # between two looks of the net, whatever `polling_interval` says
SYNC_S = 0.1  # with relaxed durability, while something is held: until a commit is on the disk
OTHERS_S = 1.0  # between two looks after other workers
FORGOTTEN_S = 15.0  # that Celery's worker does not have a task any more: its end may be on its way into the file


class Holder:
    """The leases that this process has in one file, by delivery tag. Safe to use from any thread."""

    def __init__(self, file: File) -> None:
        self.pid = os.getpid()
        self._file = file
        self._relaxed = file.options.durability == "relaxed"
        self._lock = threading.Lock()
        self._leases: dict[str, Lease] = {}
        self._no_tasks: set[str] = set()  # of these
        self._delivered: set[str] = set()  # likewise: Celery's worker has them
        self._forgotten: dict[str, float] = {}  # likewise: it has them no more, since when
        self._queues: set[str] = set()
        self._beat: Heartbeat | None = None
        self._stop = threading.Event()
        self._stirred = threading.Event()  # relaxed: the thread is to look at once, and shorter from now on
        self._resting = False  # the thread: nothing was held at its last look
        self._busy = False  # something was held, or the bell has rung, since its last look for what is to be synced
        self._thread: threading.Thread | None = None
        self._synced = -1
        self._looked_up = -1
        self._node: Any = None
        self.name: str | None = None  # in the list of workers
        self._told: object = None  # whether others know that it sends events of tasks

    def number(self, queues: Iterable[str]) -> int:
        """The worker's number that leases of `queues` bear; the process enters with the first call."""
        self._queues.update(queues)
        beat = self._beat
        if beat is None:
            with self._lock:
                beat = self._beat or self._enter()
        return beat.worker

    def leave_queue(self, queue: str) -> bool:
        """Have the list of workers not tell of `queue`, until it is claimed from once more; whether it did."""
        if queue not in self._queues:
            return False
        self._queues.discard(queue)
        if (beat := self._beat) is not None:
            beat.soon()
        return True

    def _enter(self) -> Heartbeat:
        file = self._file
        node = self._node = file.node
        self.name = (node and node.name()) or expand_name(f"celery-{self.pid}@%h")
        beat = self._beat = Heartbeat(
            file.storage,
            me(self.name),
            visibility_s=file.options.visibility_timeout,
            result_expires_s=file.result_expires_s,
            dead_expires_s=file.dead_expires_s,
            info=self._facts,
            patience_s=file.options.busy_timeout,
            stage="ready",
        )
        file.storage.driver.reserve()
        # Loaded here, not in a thread: a process that the pool forks meanwhile would wait for ever for the module.
        _ = file.storage.leases, file.storage.stats, file.storage.exchanges
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="liteq-leases", daemon=True)
        self._thread.start()
        atexit.register(self.leave)
        return beat

    def _facts(self) -> dict[str, object]:
        found = {"celery": True, "queues": sorted(self._queues), "active": len(self._leases)}
        if self._node is not None:
            found |= self._node.facts()
        self._told = found.get("task_events")
        return found

    # -- the leases --------------------------------------------------------------------------------------------------

    def hold(self, tag: str, lease: Lease, *, task: bool) -> None:
        """Keep `lease` from running out until it is dropped, or over; `task`: it is on a task of Celery's."""
        if not task:
            self._no_tasks.add(tag)
        self._leases[tag] = lease
        self.stir()

    def deliver(self, tag: str) -> None:
        """Note that the consumer gets the message now: a task is extended while Celery's worker has it."""
        if tag in self._leases:
            self._delivered.add(tag)

    def is_task(self, tag: str) -> bool:
        """Whether the lease called `tag` is on a task of Celery's."""
        return tag not in self._no_tasks

    def get(self, tag: str) -> Lease | None:
        """The lease called `tag`; None where it was dropped."""
        return self._leases.get(tag)

    def drop(self, tag: str) -> Lease | None:
        """Extend the lease called `tag` no more."""
        self._no_tasks.discard(tag)
        self._delivered.discard(tag)
        self._forgotten.pop(tag, None)
        return self._leases.pop(tag, None)

    # -- the thread --------------------------------------------------------------------------------------------------

    def stir(self) -> None:
        """Have the thread sync soon, with `relaxed`: somebody has committed, or something is held."""
        self._busy = True
        # Looked at after the lease is there, as the thread looks for leases after it has said that it rests.
        if self._relaxed and self._resting:
            self._resting = False
            self._stirred.set()

    def _works(self) -> bool:
        """Whether something is held, or Celery's worker has a task whose message it has acknowledged already."""
        return bool(self._leases) or (self._node is not None and self._node.has_tasks())

    def _run(self) -> None:
        last: dict[Callable[[], None], float] = {}
        while True:
            net_s = max(self._file.net_s, LEAST_NET_S)
            look_s = min(LOOK_S, self._file.options.visibility_timeout / 6, net_s)
            due = [(self._extend, look_s), (self._look_after_others, OTHERS_S)]
            if self._relaxed:
                due.append((self._sync, SYNC_S))
            due.append((self._net, net_s))  # the last: the event loop that it wakes finds this thread asleep
            # Never in step with the event loop's timers: awake together, the two would wake each other a dozen times.
            rest_s = look_s * random.uniform(0.7, 1.0)
            self._stirred.wait(SYNC_S if self._relaxed and not self._resting else rest_s)
            self._stirred.clear()
            if self._stop.is_set():
                return
            self._resting = False
            if not self._works():
                self._resting = True
                if self._leases:  # held since
                    self._resting = False
            now = time.monotonic()
            for step, each_s in due:
                if now >= last.get(step, -inf) + each_s:
                    last[step] = now
                    try:
                        step()
                    except Exception as exc:  # without it each lease would run out
                        told = None if isinstance(exc, StorageError) else exc
                        logger.warning("the leases' thread failed, and tries again: %s", exc, exc_info=told)

    def _extend(self) -> None:
        beat = self._beat
        news = self._node is not None and self._told not in (None, self._node.tells_of_tasks())
        if beat is not None and news:
            beat.soon()
        if beat is None or beat.monotonic() < beat.due_at:
            return
        for lease in beat.beat([lease for tag, lease in self._not_settled().items() if not self._given_up(tag, lease)]):
            logger.warning("the lease on %s[%s] is over; its outcome will be dropped", lease.task, lease.id)
            self.drop(f"{lease.seq}.{lease.token}")

    def _not_settled(self) -> dict[str, Lease]:
        """The leases that are on, by tag; most have been settled by a child: a read finds that without the lock."""
        held = dict(self._leases)
        for tag, lease in list(held.items()):
            if not self._file.storage.leases.holds(lease.seq, lease.token):
                self.drop(tag)
                del held[tag]
        return held

    def _given_up(self, tag: str, lease: Lease) -> bool:
        """Let go of a task that has no end, and of which Celery's worker knows no more: whether it is one.

        Its process could not write its end, or died and nobody heard of it: Celery 5.5 forgets what runs when it
        connects anew. Extended, the lease would be held for ever. So it runs out, as that of a dead worker.
        """
        waits = self._node is None or tag not in self._delivered or tag in self._no_tasks
        if waits or self._node.has(lease.id, lease.task):
            self._forgotten.pop(tag, None)
            return False
        now = time.monotonic()
        if now < self._forgotten.setdefault(tag, now) + FORGOTTEN_S:
            return False
        logger.error(
            "%s[%s] has no outcome, and no process of this worker has it any more: its lease runs out", lease.task,
            lease.id,
        )  # fmt: skip
        self.drop(tag)
        return True

    def _look_after_others(self) -> None:
        self._file.look_for_space()
        events.trim(self._file)
        if self._beat is not None:
            self._beat.tell(ending=False, quiet=False, full=self._file.short)
            self._beat.look_after_others()

    def _net(self) -> None:
        """Have the consumers checked whose event loop sleeps on: one that is awake does so itself (transport.py).

        So an idle worker has one thread that wakes, and what wakes its event loop is the timers of Celery's own.
        """
        now, net_s = time.monotonic(), max(self._file.net_s, LEAST_NET_S)
        for ear in list(self._file.ears):
            if now >= ear.checked_at + (2 * net_s if ear.has_bell else net_s):
                ear.check()

    def _sync(self) -> None:
        """Have what was committed, by children too, on the disk: with relaxed durability nobody else waits for it.

        Once nobody commits any more, what has been settled is held no longer, and the thread comes to rest. Then a
        heartbeat is all that changes the file, and that may be lost.
        """
        driver = self._file.storage.driver
        worked, self._busy = self._busy, False
        if self._works():
            self._busy = True
        if not worked and not self._busy and not driver.owes:
            return
        version = driver.version()
        if version != self._synced or driver.owes:  # the disk may have refused the last one
            self._synced = version
            driver.sync()
        elif version != self._looked_up:
            self._looked_up = version
            self._not_settled()

    # -- the end -----------------------------------------------------------------------------------------------------

    def rest(self) -> None:
        """Leave the list of workers where nothing is held any more."""
        if not self._leases:
            self.leave()

    def leave(self) -> None:
        """Leave the list of workers; what is still held goes back to its queue."""
        if self.pid != os.getpid():
            return
        with self._lock:
            beat, self._beat = self._beat, None
            thread, self._thread = self._thread, None
        atexit.unregister(self.leave)
        if beat is None:
            return
        self._stop.set()
        self._stirred.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5)
        for tag in list(self._leases):
            self.drop(tag)
        self._file.counter.flush()
        try:
            self._file.storage.reap([beat.worker], expired=False)
        except StorageError as exc:  # the others see that this process is gone
            logger.warning("cannot leave the list of workers: %s", exc)
