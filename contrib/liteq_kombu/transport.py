"""kombu's transport on a liteq file: connections, and what they wait for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, cached_property
from time import monotonic
from types import ModuleType
from typing import Any

from kombu.exceptions import ChannelError, ConnectionError
from kombu.transport import virtual

from liteq.exceptions import ImproperlyConfigured, StorageError
from liteq_kombu.channel import Channel
from liteq_kombu.files import File, checked, open_file
from liteq_kombu.options import FORM, options_of
from liteq_kombu.running import look_for_results
from liteq_kombu.waking import Ear

__all__ = ["Transport"]

ANSWERS_S = 0.05  # between two looks for answers
WORKER = "celery.worker.consumer"  # loaded where a worker of Celery's is to start
DEAF_S = 1.0  # between two looks where no bell rings: for events, and on a system that has none
CLOCK_S = 30.0  # until the clock is asked again when the next message comes due: it may have been set
LOOKAHEAD_S = 3_600.0  # a timer is set for what comes due no later


def _refuse_eventlet() -> None:
    """Raises ImproperlyConfigured under eventlet: there a worker hears of no message, and says nothing."""
    patcher = sys.modules.get("eventlet.patcher")
    if patcher is not None and patcher.is_monkey_patched("thread"):
        raise ImproperlyConfigured(
            "a worker of Celery's does not work on a liteq file under eventlet: use another pool, "
            "`celery worker -P gevent` or `-P threads`"
        )


class Transport(virtual.Transport):
    """A connection to the queue in one file."""

    Channel = Channel
    can_parse_url = True
    driver_type = "liteq"
    driver_name = "liteq"
    implements = virtual.Transport.implements.extend(
        asynchronous=True, exchange_type=frozenset(["direct", "topic", "fanout"])
    )
    connection_errors = (ConnectionError, StorageError, OSError)
    channel_errors = (ChannelError,)

    def __init__(self, client: Any, **kwargs: Any) -> None:
        urls = {client.hostname, *(client.alt or ())} - {None}
        if len(urls) > 1:
            raise ImproperlyConfigured(f"a liteq queue is one file, and {len(urls)} URLs were given: {FORM}")
        self.options = options_of(client.transport_options)
        checked(client.hostname or "")
        self._node: ModuleType | None = None
        if WORKER in sys.modules:
            _refuse_eventlet()
            from liteq_kombu.crossing import node  # it imports a worker

            self._node = node
            node.meet()
        super().__init__(client, **kwargs)
        self.polling_interval = self.options.polling_interval
        self._ear: Ear | None = None
        self._loop: Any = None
        self._timer: Any = None

    @cached_property
    def file(self) -> File:
        """The file, opened where it is used: Celery makes transports to show a URL alone, without their options."""
        file = open_file(self.client.hostname or "", self.options)
        file.node = self._node or file.node
        return file

    def driver_version(self) -> str:
        """Liteq's version."""
        from liteq import __version__

        return __version__

    def as_uri(self, uri: str, include_password: bool = False, mask: str = "**") -> str:
        """`uri` as it may be shown: there is no password in it."""
        return uri

    @property
    def default_connection_params(self) -> dict[str, Any]:
        """No host and no port: kombu warns where a transport has a default that was not given."""
        return {}

    def establish_connection(self) -> Any:
        """Open the file, creating it where it is not there. Raises what says why it cannot be used."""
        self.file.ready()
        look_for_results(self.file)
        return super().establish_connection()

    def close_connection(self, connection: Any) -> None:
        """Close the channels; what they hold goes back."""
        super().close_connection(connection)
        self._unregister()
        ear, self._ear = self._ear, None
        if ear is not None:
            ear.close()
        if (holder := self.file.held) is not None:
            holder.rest()

    # -- waiting -----------------------------------------------------------------------------------------------------

    def _ear_here(self) -> Ear:
        if self._ear is None or self._ear.pid != os.getpid():
            self._ear = Ear(self.file.storage)
        return self._ear

    @property
    def ear(self) -> Ear | None:
        """The ear of this process; None where nobody has waited yet."""
        ear = self._ear
        return ear if ear is not None and ear.pid == os.getpid() else None

    def wake(self) -> None:
        """Have the consumer look again; from any thread."""
        if (ear := self.ear) is not None:
            ear.wake()

    def deliver(self, channels: Sequence[Any] | None = None, callback: Callable[..., Any] | None = None) -> int:
        """Deliver what the channels, by default all, may have now; how many messages.

        A revoke that was sent before a task is heard before it: it passes by another channel. So tasks are claimed,
        then it is looked what passes, and then they are delivered.
        """
        channels, callback = list(self.channels) if channels is None else channels, callback or self._deliver
        for channel in channels:
            channel.look()
        newest = cache(self.file.storage.exchanges.newest)  # one look for all of them
        passed = sum(channel.deliver_passing(callback, newest) for channel in channels)
        return passed + sum(channel.deliver_ready(callback) for channel in channels)

    def _due_s(self) -> float:
        """Seconds until the next message of the file comes due."""
        due_ms = [channel.due_ms for channel in self.channels if channel.due_ms is not None]
        if not due_ms:
            return LOOKAHEAD_S
        return max((min(due_ms) - self.file.storage.clock.now_ms()) / 1000, 0.0)

    def drain_events(self, connection: Any, timeout: float | None = None) -> None:
        """Wait for messages, and deliver them. Raises TimeoutError after `timeout` seconds without one."""
        ear = self._ear_here()
        until = None if timeout is None else monotonic() + timeout
        while not self.deliver():
            left = LOOKAHEAD_S if until is None else until - monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            # The answers of liteq's workers ring another bell.
            poll_s = ANSWERS_S if self.file.asked else self.polling_interval or left
            if not ear.has_bell or any(channel.hears for channel in self.channels):
                poll_s = min(poll_s, DEAF_S)
            ear.wait(min(left, poll_s, self._due_s() or 0.001))

    # -- in Celery's event loop ----------------------------------------------------------------------------------------

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Deliver from `loop`: at each ring, at what comes due, and as a net where the file has changed (holder.py)."""
        self._unregister()
        self._loop = loop
        ear = self._ear_here()
        for fd in ear.filenos():
            loop.add_reader(fd, self._on_ring)
        if not ear.has_bell:
            self.file.net_s = min(self.file.net_s, DEAF_S)
        loop.on_tick.add(self._on_tick)
        self.file.ears.add(ear)
        ear.wake()

    def _on_tick(self) -> None:
        """Look for a ring that was lost, where the loop is awake in any case.

        It only wakes the ear: the loop has worked out already for how long it is going to sleep.
        """
        if (ear := self._ear) is not None and monotonic() >= ear.checked_at + self.file.net_s:
            ear.check()

    def _on_ring(self) -> None:
        ear = self._ear
        if ear is None:
            return
        rung = ear.clear()
        self.deliver()
        if rung and (holder := self.file.held) is not None:
            holder.stir()  # the producers' last commits are to be synced
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        due_s = self._due_s()
        if due_s < LOOKAHEAD_S:
            self._timer = self._loop.call_later(min(due_s, CLOCK_S), ear.wake)

    def _unregister(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None and self._ear is not None:
            self.file.ears.discard(self._ear)
            loop.on_tick.discard(self._on_tick)
            for fd in self._ear.filenos():
                with suppress(Exception):  # the loop has been reset, or is another process's
                    loop.remove_reader(fd)
