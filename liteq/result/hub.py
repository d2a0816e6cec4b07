"""How async code waits: one listener for a whole event loop, however many results it waits for, and no thread each.

A ring of the storage's bell makes the hub look once, in the reading thread, which of all the messages that somebody
waits for have finished.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from liteq.context import App
from liteq.exceptions import StorageError, TimeoutError
from liteq.result.waiting import LONG_S, RECHECK_S, is_away, told, why_waiting
from liteq.storage.listeners import REST
from liteq.storage.reading.inspect import Record
from liteq.utils.async_threads import Lanes, lanes_of, reading

__all__ = ["finished", "ringing"]


@asynccontextmanager
async def finished(
    app: App, ids: Iterable[str], timeout_s: float | None
) -> AsyncIterator[dict[str, asyncio.Future[Record]]]:
    """Within the block, by id, a future of each message's row that is done once the message has finished.

    Raises TimeoutError out of the block when it waits longer than `timeout_s` seconds; with 0, for what has not
    finished now.
    """
    lanes = lanes_of(app)
    ids = list(ids)
    there: Mapping[str, Record] = {}
    try:
        there = await reading(app, lambda: app.storage.reader.find_finished(ids)) if ids else {}
    except StorageError as exc:  # of one that is away the hub asks again
        if not is_away(app.storage, exc):
            raise
    hub = _hub_of(app, lanes)
    futures = {id_: hub.expect(id_, there.get(id_)) for id_ in ids}
    limit = asyncio.timeout(timeout_s)
    watch = asyncio.create_task(_tell_long(app, futures))
    try:
        async with limit:
            yield futures
    except builtins.TimeoutError:
        if not limit.expired():
            raise
        late = next((id_ for id_, future in futures.items() if not future.done() or future.cancelled()), "a task")
        why = f": {await reading(app, lambda: why_waiting(app, late))}" if timeout_s else ""
        raise TimeoutError(f"{late} did not finish in time{why}") from None
    finally:
        watch.cancel()
        for id_, future in futures.items():
            hub.give_up(id_, future)


async def _tell_long(app: App, futures: dict[str, asyncio.Future[Record]]) -> None:
    """Log, once, what the first of `futures` waits for that is not done after LONG_S."""
    await asyncio.sleep(LONG_S)
    late = next((id_ for id_, future in futures.items() if not future.done()), None)
    if late is not None:
        await reading(app, lambda: told(app, late, LONG_S))


class Hub:
    """The results that one event loop waits for, of one app. It is there while somebody waits: `leave` is its end."""

    def __init__(
        self, storage: Any, loop: asyncio.AbstractEventLoop, lanes: Lanes, leave: Callable[[], object]
    ) -> None:
        self._storage = storage
        self._leave = leave
        self._loop = loop
        self._lanes = lanes
        self._waiting: dict[str, set[asyncio.Future[Record]]] = {}
        self._unseen: set[str] = set()  # not looked for since they are waited for
        self._rung = False
        self._busy = False  # looking, or resting from it
        self._ear: Ear | None = None

    def expect(self, id_: str, there: Record | None = None) -> asyncio.Future[Record]:
        """A future that has the row of `id_` once it has finished, or the error of a file that cannot be read.

        `there`: the row, where it has finished already.
        """
        if there is not None:
            known: asyncio.Future[Record] = self._loop.create_future()
            known.set_result(there)
            return known
        if self._ear is None:
            self._ear = Ear(self._storage, self._loop, self._on_ring)
            self._recheck = self._loop.call_later(RECHECK_S, self._check)
        future: asyncio.Future[Record] = self._loop.create_future()
        self._waiting.setdefault(id_, set()).add(future)
        self._unseen.add(id_)
        self._loop.call_soon(self._look)
        return future

    def give_up(self, id_: str, future: asyncio.Future[Record]) -> None:
        """Nobody waits for `future` any more; with the last one, stop listening."""
        future.cancel()
        waiting = self._waiting.get(id_)
        if waiting is not None:
            waiting.discard(future)
            if not waiting:
                del self._waiting[id_]
                self._unseen.discard(id_)
        if not self._waiting and self._ear is not None:
            self._recheck.cancel()
            self._ear.close()
            self._ear = None
            self._leave()

    def _on_ring(self) -> None:
        self._rung = True
        self._look()

    def _check(self) -> None:
        """A ring may be lost, a row never is."""
        self._recheck = self._loop.call_later(RECHECK_S, self._check)
        self._on_ring()

    def _look(self) -> None:
        if self._busy:
            return
        ids = list(self._waiting) if self._rung else list(self._unseen)
        if not ids:
            return
        self._rung = False
        self._unseen.clear()
        self._busy = True
        self._began = self._loop.time()
        self._lanes.read(self._storage.reader.find_finished, ids).add_done_callback(self._looked)

    def _looked(self, look: asyncio.Future[dict[str, Record]]) -> None:
        self._loop.call_later(REST * (self._loop.time() - self._began), self._rested)
        if look.cancelled():
            return
        error = look.exception()
        if error is not None and is_away(self._storage, error):
            return  # to be asked again by `_check`
        if error is not None:
            for futures in self._waiting.values():
                for future in futures:
                    if not future.done():
                        future.set_exception(error)
            return
        for id_, record in look.result().items():
            for future in self._waiting.pop(id_, ()):
                if not future.done():
                    future.set_result(record)

    def _rested(self) -> None:
        self._busy = False
        self._look()


class Ear:
    """A listener on an event loop: by its descriptor, or where there is none, by a thread for all waiters."""

    def __init__(self, storage: Any, loop: asyncio.AbstractEventLoop, on_ring: Callable[[], object]) -> None:
        self._hearing = storage.hearing()
        self._listener = self._hearing.__enter__()
        self._loop = loop
        self._on_ring = on_ring
        self._closed = False
        self._fd: int = self._listener.fileno()
        try:
            if self._fd < 0:
                raise NotImplementedError
            loop.add_reader(self._fd, self._heard)
        except NotImplementedError:  # Windows
            self._fd = -1
            self._listen_in_thread()

    def _heard(self) -> None:
        try:
            self._listener.clear()
        except (OSError, StorageError):
            pass  # the bell's folder is gone: the look, now or a second later, says so
        self._on_ring()

    def _listen_in_thread(self) -> None:
        wait = self._loop.run_in_executor(None, self._listener.wait, RECHECK_S)
        wait.add_done_callback(self._waited)

    def _waited(self, wait: asyncio.Future[bool]) -> None:
        if self._closed or wait.cancelled():
            self._hearing.__exit__(None, None, None)
            return
        if wait.exception() is None and wait.result():
            self._on_ring()
        self._listen_in_thread()

    def close(self) -> None:
        """Stop listening. The listener goes back to the storage when no thread uses it."""
        self._closed = True
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            self._hearing.__exit__(None, None, None)


class Rings:
    """The rings that one waiter hears on its event loop."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()
        self.ring = self._rung.set

    async def wait(self, timeout_s: float, *, rest_s: float) -> None:
        """Sleep for `rest_s` seconds, then until there was a ring since the last wait, or `timeout_s` seconds."""
        await asyncio.sleep(rest_s)
        try:
            async with asyncio.timeout(timeout_s):
                await self._rung.wait()
        except builtins.TimeoutError:
            pass
        self._rung.clear()


@contextmanager
def ringing(app: App) -> Iterator[Rings]:
    """Within the block: the rings of what finishes, or is shown, in the file of `app`, which is open already."""
    rings = Rings()
    ear = Ear(app.storage, asyncio.get_running_loop(), rings.ring)
    try:
        yield rings
    finally:
        ear.close()


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, Hub]] = WeakKeyDictionary()


def _hub_of(app: App, lanes: Lanes) -> Hub:
    """The hub of `app` on this event loop; the file is open already."""
    loop = asyncio.get_running_loop()
    hubs = _hubs.setdefault(loop, {})
    storage = app.storage
    key = id(storage)
    if key not in hubs:
        hubs[key] = Hub(storage, loop, lanes, lambda: hubs.pop(key, None))
    return hubs[key]
