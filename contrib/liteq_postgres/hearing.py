"""The bells: LISTEN on a connection of its own, read by one thread, which wakes the listeners of this process.

A listener's descriptor is a pipe's, so it is the same while the connection comes and goes. Where nothing is to be heard
(behind a pooler in transaction mode, on a standby), the thread asks each second whether anything was committed.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Final

import psycopg

from liteq.exceptions import StorageError
from liteq.storage.driver import Bell, Row
from liteq_postgres.names import channel
from liteq_postgres.session import Session

__all__ = ["Hearing", "PipeListener"]

logger = logging.getLogger(__name__)

HELLO_S: Final = 2.0  # how long the test of the connection may take to be heard
POLL_S: Final = 1.0
QUIET_S: Final = 30.0  # without a word the connection is asked whether it is there
RETRY_S: Final = 1.0
STOP_S: Final = 2.0
READY_S: Final = 15.0  # how long `listen` waits for a connection; then it is without one for the time being
SNAPSHOT: Final = "SELECT CAST(pg_current_snapshot() AS TEXT)"


class PipeListener:
    """`driver.Listener` over a pipe."""

    def __init__(self, gone: Callable[[PipeListener], None]) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._gone = gone

    def ring(self) -> None:
        """Make the descriptor readable."""
        with suppress(BlockingIOError, OSError):  # it is full, so readable; or closed in this moment
            os.write(self._write, b"!")

    def fileno(self) -> int:
        return self._read

    def clear(self) -> bool:
        heard = False
        with suppress(BlockingIOError):
            while os.read(self._read, 4096):
                heard = True
        return heard

    def wait(self, timeout_s: float) -> bool:
        ready = select.poll()
        ready.register(self._read, select.POLLIN)
        ready.poll(max(timeout_s, 0) * 1000)
        return self.clear()

    def close(self) -> None:
        if self._read >= 0:
            self._gone(self)
            read, self._read = self._read, -1
            write, self._write = self._write, -1
            os.close(read)
            os.close(write)


class Hearing:
    """The bells of one queue in this process; a thread and a connection as long as anybody listens."""

    def __init__(self, connect: Callable[..., Session], schema: str, address: tuple[str, str] | None) -> None:
        self._connect, self._address = connect, address
        self._channels = {channel(schema, bell): bell for bell in Bell}
        self._told = False
        self.is_polled: bool | None = None  # None: nothing was heard or polled yet
        self._renew()

    def _renew(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[PipeListener, Bell] = {}
        self._ear: _Ear | None = None

    def listen(self, bell: Bell) -> PipeListener:
        """A listener; every ring from now on is heard, unless the server is not to be reached now."""
        listener = PipeListener(self._gone)
        with self._lock:
            self._listeners[listener] = bell
            if self._ear is None:
                self._ear = _Ear(self)
            ear = self._ear
        ear.ready.wait(READY_S)
        return listener

    def ring(self, bell: Bell | None = None) -> None:
        """Wake the listeners of `bell`; None: all of them."""
        with self._lock:
            for listener, of in self._listeners.items():
                if bell is None or of is bell:
                    listener.ring()

    def stop(self) -> None:
        """End the thread. Listeners that are not closed are silent from now on."""
        with self._lock:
            ear, self._ear = self._ear, None
        if ear is not None:
            ear.stop()

    def abandon(self) -> None:
        """In a child: the thread is not here, and its connection is the parent's."""
        if self._ear is not None:
            self._ear.abandon()
        self._renew()

    def _gone(self, listener: PipeListener) -> None:
        ear = None
        with self._lock:  # in one step: a listener that comes now has a thread of its own
            self._listeners.pop(listener, None)
            if not self._listeners:
                ear, self._ear = self._ear, None
        if ear is not None:
            ear.stop()

    # -- for the thread ----------------------------------------------------------------------------------------------

    def connect(self) -> Session:
        if self._address is None:
            return self._connect()
        host, port = self._address
        return self._connect(host=host, port=port, hostaddr=None)  # which would count in the place of the host

    def heard(self, name: str) -> None:
        """A notification came on the channel `name`."""
        bell = self._channels.get(name)
        if bell is not None:
            self.ring(bell)

    def channels(self) -> list[str]:
        return list(self._channels)

    def polls(self, is_polled: bool) -> None:
        """Note how the bells are heard; told once where they are polled."""
        self.is_polled = is_polled
        if is_polled and not self._told:
            self._told = True
            logger.warning(
                "no bell is heard through this connection (a pooler in transaction mode, or a standby?): looking each "
                "second for what was committed; name the server itself in the broker URL, listen=host:port"
            )


class _Ear:
    """The thread, and its connection."""

    def __init__(self, hearing: Hearing) -> None:
        self._hearing = hearing
        self.ready = threading.Event()
        self._stopped = False
        self._session: Session | None = None
        self._heard: list[str] = []  # channels, also of what came with the answer to a statement
        self._woken, self._wake = os.pipe()
        self._thread = threading.Thread(target=self._run, name="liteq-bells", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; wait for it, unless it is just trying to reach a server that is not there."""
        os.write(self._wake, b"!")  # first: the thread closes the pipe when it ends
        self._stopped = True
        if self._thread is not threading.current_thread():
            self._thread.join(STOP_S)

    def abandon(self) -> None:
        os.close(self._woken)
        os.close(self._wake)

    def _run(self) -> None:
        while not self._stopped:
            try:
                self._session = self._hearing.connect()
                self._hear(self._session)
            except (StorageError, psycopg.Error, OSError, ValueError) as error:
                logger.debug("the bells are not heard at the moment: %s", error)
            finally:
                if self._session is not None:
                    self._session.close()
                    self._session = None
            self.ready.set()
            if not self._stopped:
                self._sleep(RETRY_S)
                self._hearing.ring()  # it may have been missed
        os.close(self._woken)
        os.close(self._wake)

    def _hear(self, session: Session) -> None:
        is_polled = (session.pooled and self._hearing.is_polled is True) or not self._is_told(session)
        for name in () if is_polled else self._hearing.channels():
            session.control(f"LISTEN {name}")
        self._hearing.polls(is_polled)
        seen = session.execute(SNAPSHOT) if is_polled else []
        self._hearing.ring()  # since the last connection
        self.ready.set()
        while not self._stopped:
            if is_polled:
                self._poll(session, seen)
            elif not self._next(session, QUIET_S):
                session.control("SELECT 1")

    def _is_told(self, session: Session) -> bool:
        """Whether a word that is said to this connection is heard on it.

        Through a pooler that works by transactions LISTEN stays on a connection of the server that others have next,
        and a word to oneself would come back on it: so another connection says it.
        """
        hello = f"liteq_hello_{os.getpid()}_{id(self)}"
        self._heard = []
        session.connection.add_notify_handler(lambda note: self._heard.append(note.channel))
        try:
            session.control(f"LISTEN {hello}")
        except StorageError:
            if session.broken:
                raise
            return False  # a standby has no bells, and one that is only read from may stay with it
        if session.pooled:
            with suppress(StorageError), closing(self._hearing.connect()) as other:
                other.control(f"NOTIFY {hello}")
        else:
            session.control(f"NOTIFY {hello}")
        told = self._next(session, HELLO_S, hello)
        session.control(f"UNLISTEN {hello}")
        return told

    def _poll(self, session: Session, seen: list[Row]) -> None:
        while not self._stopped:
            self._sleep(POLL_S)
            found = session.execute(SNAPSHOT)
            if found != seen:
                seen = found
                self._hearing.ring()

    def _next(self, session: Session, within_s: float, name: str | None = None) -> bool:
        """Wait for notifications; whether there was one, of channel `name` where that is given."""
        end = time.monotonic() + within_s
        pgconn = session.connection.pgconn
        while not self._stopped:
            pgconn.consume_input()
            while (note := pgconn.notifies()) is not None:
                self._heard.append(note.relname.decode())
            heard, self._heard = self._heard, []
            for one in heard:
                self._hearing.heard(one)
            if name in heard or (heard and name is None):
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            ready = select.poll()
            ready.register(pgconn.socket, select.POLLIN)
            ready.register(self._woken, select.POLLIN)
            ready.poll(left * 1000)
        return True

    def _sleep(self, seconds: float) -> None:
        ready = select.poll()
        ready.register(self._woken, select.POLLIN)
        ready.poll(seconds * 1000)
