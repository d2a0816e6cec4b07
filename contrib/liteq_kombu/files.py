"""The queue files of this process: one storage each, which the transport and the backend share."""

from __future__ import annotations

import logging
import mmap
import os
import sys
import threading
import time
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

from liteq.context.living import late_after_ms, living_in
from liteq.exceptions import (
    CodecError,
    ImproperlyConfigured,
    ReadOnly,
    SchemaTooNew,
    StorageBusy,
    StorageConflict,
    StorageCorrupt,
    StorageFull,
    StorageUnavailable,
)
from liteq.settings.schemes import scheme_of
from liteq.storage.driver import Place
from liteq.storage.engines import describe_url
from liteq.storage.storage import Storage, open_storage
from liteq_kombu.counting import Counter
from liteq_kombu.options import FORM, TransportOptions

if TYPE_CHECKING:
    from celery import Celery

    from liteq.storage.claiming.workers import WorkerRecord
    from liteq_kombu.crossing.control import Asked
    from liteq_kombu.holder import Holder
    from liteq_kombu.waking import Ear

__all__ = ["File", "app_here", "checked", "open_file"]

# A worker that waits for these would wait for ever: they are told of before it says that it is ready.
NOT_BY_WAITING = (SchemaTooNew, StorageCorrupt, StorageUnavailable, ReadOnly, CodecError)

logger = logging.getLogger("liteq.kombu")

T = TypeVar("T")
SLOTS, BYTES = 4_096, 8  # of the tokens that the processes of a pool share
LONGEST_PAUSE_S = 1.0  # between two tries of a write

lock = threading.Lock()
files: dict[tuple[str, str], File] = {}


class Unusable(ImproperlyConfigured):
    """Raised when the file cannot be used as it is: a newer schema, damage, no permission, a network filesystem."""


class Begun:
    """The leases under which a task has begun in one of the processes of a pool, so that it begins once under each.

    A pool gives the task of a process that has died to another one, where it had not heard yet that the first had
    begun. The file cannot tell: the lease is the same. So the processes share a little memory, made before they were
    forked. It has the last token for each of some thousand slots.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, SLOTS * BYTES)

    def is_first(self, token: int) -> bool:
        """Note that a task begins under the lease of `token`; False where it has begun before."""
        at = token % SLOTS * BYTES
        mine = token.to_bytes(BYTES, "little")
        if self._memory[at : at + BYTES] == mine:
            return False
        self._memory[at : at + BYTES] = mine
        return True


class File:
    """One queue file as this process uses it.

    `results`: whether the results of the tasks in it are kept in it, too: then the row is the result, and the process
    that ran a task settles it. `ready` has been called.
    """

    def __init__(self, url: str, where: str, options: TransportOptions) -> None:
        self.url = url
        self.where = where
        self.options = options
        self.results = False
        self.unplaced: set[str] = set()  # chords of generators that are being sent
        self.left: set[str] = set()  # what this worker has just left to another one, whose task it does not know
        self.app: Celery | None = None  # Celery's, whose results are kept here
        self.result_expires_s: float | None = 86_400.0
        self.dead_expires_s: float | None = 30 * 86_400.0  # failures are dead letters: longer than Celery keeps them
        self.short = False  # the disk is full
        self.node: ModuleType | None = None  # where this process is a worker of Celery's: what it tells of itself
        self.trims_events = self.told_of_events = False
        self.trimmed_at = 0.0
        self.asked: dict[str, list[Asked]] = {}  # of liteq's workers by this process, by the queue of the answers
        self.storage: Storage = open_storage(
            url,
            durability=options.durability,
            busy_timeout_s=options.busy_timeout,
            max_crashes=options.max_deliveries,
        )
        self.counter = Counter(self.storage)
        self.begun = Begun()
        self.ears: set[Ear] = set()  # of consumers in an event loop
        self.net_s = options.polling_interval  # between two looks at it by itself
        self._holder: Holder | None = None
        self._ready_in = 0
        self._lock = threading.Lock()

    def ready(self) -> None:
        """Create the file, or bring it up to date; once in a process. Raises Unusable, StorageError."""
        if self._ready_in == os.getpid():
            return
        try:
            self.storage.migrate()
        except NOT_BY_WAITING as exc:
            raise Unusable(str(exc)) from exc
        self._ready_in = os.getpid()

    def open_early(self) -> None:
        """Open the file before the first task does. It waits for no other writer: Celery ends a process that is slow to
        start. Raises Unusable, StorageError.
        """
        self.ready()
        self.storage.leases.holds(0, 0)

    def living(self) -> list[WorkerRecord]:
        """The workers on the file that live, Celery's and liteq's."""
        return living_in(self.storage, self.storage.clock.now_ms(), late_after_ms(self.options.visibility_timeout))

    def patiently(self, write: Callable[[], T]) -> T:
        """The value of `write`, again and again while the disk is full or others write: an outcome is not to be lost.

        Its lease is kept meanwhile by the thread of the process that holds it.
        """
        pause_s = 0.05
        while True:
            try:
                return write()
            except StorageFull as exc:
                self.out_of_space(exc)
            except (StorageBusy, StorageConflict) as exc:
                logger.warning("the queue cannot be written at the moment, trying again: %s", exc)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def out_of_space(self, exc: StorageFull) -> None:
        """Claim nothing while the disk is full; what runs is settled with the space held in reserve."""
        relieved = self.storage.driver.relieve()
        if not self.short or relieved:
            logger.error("%s; claiming nothing until there is space", exc)
        self.short = True

    def look_for_space(self) -> None:
        """Take up work again once the space is held in reserve anew."""
        if (self.short or self.storage.driver.in_reserve()) and self.storage.driver.reserve():
            if self.short:
                logger.warning("there is space again: going on")
            self.short = False

    def is_at(self, url: object) -> bool:
        """Whether `url` is that of this file. Raises ImproperlyConfigured for one that liteq cannot read."""
        return isinstance(url, str) and url.startswith("liteq:") and bool(describe_url(url).where == self.where)

    @property
    def holder(self) -> Holder:
        """The leases of this process; another one after a fork."""
        if (held := self.held) is not None:
            return held
        from liteq_kombu.holder import Holder

        with self._lock:
            if self._holder is None or self._holder.pid != os.getpid():
                self._holder = Holder(self)
            return self._holder

    @property
    def held(self) -> Holder | None:
        """The leases of this process; None where it has none."""
        holder = self._holder
        return holder if holder is not None and holder.pid == os.getpid() else None


def app_here() -> Celery | None:
    """The app of Celery's that is current in this thread; None where there is none, as in a program of kombu's alone.

    Not by Celery's own function, which makes an app where there is none.
    """
    state = sys.modules.get("celery._state")
    return (state._tls.current_app or state.default_app) if state is not None else None


def checked(url: str) -> Place:
    """Where the file of `url` is. Raises ImproperlyConfigured for a URL that is none of a file's."""
    if not url or scheme_of(url) != "liteq" or ";" in url:
        raise ImproperlyConfigured(f"{url!r} is not the URL of one liteq file: {FORM}")
    return describe_url(url)


def open_file(url: str, options: TransportOptions) -> File:
    """The file of `url`. Raises ImproperlyConfigured for a URL that is none of a file's, and for two durabilities."""
    place = checked(url)
    key = (place.where, place.through)
    with lock:
        found = files.get(key)
        if found is None:
            found = files[key] = File(url, place.where, options)
    if found.options.durability != options.durability:
        raise ImproperlyConfigured(
            f"{place.where} is open with durability {found.options.durability!r} in this process, and "
            f"{options.durability!r} is asked for: give broker_transport_options and result_backend_transport_options "
            "the same, or leave it out of the second"
        )
    return found
