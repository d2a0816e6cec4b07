"""Threads that wait for each other, where one of them holds the queue's file by a transaction of Django's.

A thread inside `atomic()` has the write lock until its block ends. What it starts in another thread and waits for, from
inside the block, cannot write before that: neither would go on before `busy_timeout`. Two ways out:

- `async_to_sync` waits in a way that lets its thread work meanwhile: what its coroutine sends, that thread sends, as a
  part of the transaction (`submit`);
- for all others it is an error as soon as the wait for the lock has lasted GRACE_S (`refuse_deadlock`).
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from types import FrameType
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from asgiref.sync import AsyncToSync, async_to_sync
from django.db import connections

from liteq.exceptions import StorageError
from liteq.utils import coroutines

__all__ = ["GRACE_S", "note", "refuse_deadlock", "run_coroutine", "submit", "thread_inside_atomic"]

T = TypeVar("T")

GRACE_S = 0.5  # a thread that has only just been started may not be waited for, but left alone

# The functions in which a thread waits for another one, by their modules.
WAITS = {
    "threading": {"join"},
    "concurrent.futures._base": {"result", "exception", "wait", "as_completed", "result_iterator"},
    "concurrent.futures.thread": {"shutdown"},
    "asgiref.current_thread_executor": {"run_until_future"},
}

_opened_by: WeakKeyDictionary[Any, int] = WeakKeyDictionary()  # the thread of each connection of Django's
_lock = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)

ITS_LOOP_S_TRANSACTION = (
    "the thread that runs this event loop is inside atomic(), and what a coroutine sends cannot become a part of that "
    "transaction: run the coroutine by asgiref's async_to_sync() instead of asyncio.run()"
)
WAITED_FOR = (
    "a thread that is inside atomic() on the queue's database waits for this one, which waits for the end of that "
    "transaction: send the task in the thread of the transaction, or after it (transaction.on_commit)"
)


def note(connection: Any, **_named: Any) -> None:
    """This thread has opened `connection`: a receiver of Django's signal."""
    with _lock:
        _opened_by[connection] = threading.get_ident()


# -- async code --------------------------------------------------------------------------------------------------------


def submit(call: Callable[[], T], *, writing_to: str | None) -> Future[T] | None:
    """Have `call` run by the thread that waits in `async_to_sync` for this coroutine; None where there is none.

    That is where Django runs the ORM's calls of async code too. `writing_to`: the database whose transaction a write
    would belong to. Raises StorageError when that is one of the thread that runs the event loop itself: Django lets
    nothing be added to it from there.
    """
    executor = getattr(AsyncToSync.executors, "current", None)
    if executor is not None:
        try:
            future: Future[T] = executor.submit(call)
        except RuntimeError:  # it is this thread, or it waits no more
            pass
        else:
            return future
    if writing_to is not None and threading.get_ident() in _inside_atomic(writing_to):
        raise StorageError(ITS_LOOP_S_TRANSACTION)
    return None


def run_coroutine(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run an `async def` task to its end, inside the transaction of this thread where there is one.

    As in a `TestCase`, whose transaction `drain()` and eager tasks run in. In a worker none is open; there it is the
    usual way, which keeps the event loop and lets a time limit interrupt an `await`.
    """
    if not any(connection.in_atomic_block for connection in connections.all(initialized_only=True)):
        return coroutines.run_coroutine(coroutine)

    async def run() -> T:
        return await coroutine

    return async_to_sync(run)()


# -- threads -----------------------------------------------------------------------------------------------------------


def thread_inside_atomic(alias: str) -> str | None:
    """The name of a thread of this process that is inside `atomic()` on the database `alias`; None: there is none."""
    found = next(_inside_atomic(alias), None)
    return next((t.name for t in threading.enumerate() if t.ident == found), "unknown") if found else None


def refuse_deadlock(alias: str) -> None:
    """Raise StorageError where a wait for the write lock of the database `alias` would last for ever."""
    for ident in _inside_atomic(alias, immediate=True):
        if ident == threading.get_ident():  # for a coroutine Django has other connections than for its thread
            raise StorageError(ITS_LOOP_S_TRANSACTION)
        if _waits_for_this_thread(ident):
            raise StorageError(WAITED_FOR)


def _inside_atomic(alias: str, *, immediate: bool = False) -> Iterator[int]:
    """The threads inside `atomic()` on `alias`; `immediate`: whose transaction began by taking the write lock."""
    with _lock:
        opened = list(_opened_by.items())
    for connection, ident in opened:
        if connection.alias == alias and connection.in_atomic_block:
            mode = str(getattr(connection, "transaction_mode", None) or "").upper()
            if not immediate or mode in {"IMMEDIATE", "EXCLUSIVE"}:
                yield ident


def _waits_for_this_thread(ident: int) -> bool:
    """Whether the thread `ident` waits, without a timeout, for this thread or for what it is asked to do."""
    me = _what_is_waited_for()
    for frame in _frames(sys._current_frames().get(ident)):
        waits = frame.f_code.co_name in WAITS.get(frame.f_globals.get("__name__", ""), ())
        named = frame.f_locals if waits else {}
        if waits and named.get("timeout") is None and any(_mentions(value, me) for value in named.values()):
            return True
    return False


def _what_is_waited_for() -> list[Any]:
    """This thread; the future of the call that it runs for a pool; and of whose coroutine that is a part."""
    calls = [
        frame.f_locals.get("self")
        for frame in _frames(sys._getframe())
        if frame.f_globals.get("__name__") == "concurrent.futures.thread" and frame.f_code.co_name == "run"
    ]
    futures = [getattr(call, "future", None) for call in calls]
    found = (threading.current_thread(), getattr(AsyncToSync.executors, "current", None), *futures)
    return [one for one in found if one is not None]


def _mentions(value: Any, wanted: list[Any]) -> bool:
    """Whether `value` is one of `wanted`, holds it, or is the pool whose thread it is."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return any(item is one for item in list(value) for one in wanted)
    threads = getattr(value, "_threads", ()) if type(value).__name__ == "ThreadPoolExecutor" else ()
    return any(value is one or one in threads for one in wanted)


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
