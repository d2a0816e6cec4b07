"""The threads in which async code reads and writes a queue's file. Imported where async code asks for it.

Not asyncio's own pool of threads: it is small, the program's other work shares it, and a write waits for the file's
lock up to `busy_timeout`. One thread writes, as a file has one writer at a time anyway, so what is sent together is
sent in order; another reads, which no lock hinders. A few more are for pages, whose reads may take long.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar
from weakref import WeakKeyDictionary

__all__ = ["Lanes", "lanes_of", "looking", "reading", "writing"]

T = TypeVar("T")

LOOKING_THREADS = 4  # one slow search leaves room for the other viewers


class Submits(Protocol):
    """The integrations of an app, as this module asks them."""

    def submit(self, call: Callable[[], Any], *, writes: bool) -> Future[Any] | None:
        """Run `call` in a framework's own place; None where there is none."""


class AsyncApp(Protocol):
    """The part of an app that this module, which stands below apps, knows."""

    @property
    def conf(self) -> Any:
        """Its settings; `task_always_eager` is read."""

    @property
    def integrations(self) -> Submits:
        """The hooks of frameworks."""


class _Here(threading.local):
    in_a_lane = False


_here = _Here()


def _enter() -> None:
    _here.in_a_lane = True


class Lanes:
    """The threads of one app, for all event loops of the process. They start with their first call."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="liteq-read", initializer=_enter)
        self._lookers = ThreadPoolExecutor(LOOKING_THREADS, thread_name_prefix="liteq-look", initializer=_enter)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="liteq-write", initializer=_enter)

    def look(self, function: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Call `function` in one of the threads of the pages; its result, for the running event loop."""
        return asyncio.get_running_loop().run_in_executor(self._lookers, function, *args)

    def read(self, function: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Call `function` in the reading thread; its result, for the running event loop."""
        return asyncio.get_running_loop().run_in_executor(self._reader, function, *args)

    def write(self, function: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Call `function` in the writing thread; its result, for the running event loop."""
        return asyncio.get_running_loop().run_in_executor(self._writer, function, *args)


_lanes: WeakKeyDictionary[Any, Lanes] = WeakKeyDictionary()
_lock = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def lanes_of(app: AsyncApp) -> Lanes:
    """The lanes of `app`; threads do not survive a fork, so each process has its own."""
    with _lock:
        lanes = _lanes.get(app.integrations)  # which it shares with its views of other files
        if lanes is None or lanes.pid != os.getpid():
            lanes = _lanes[app.integrations] = Lanes()
        return lanes


async def writing(app: AsyncApp, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call `function`, which writes to the file of `app`, in a thread: the event loop goes on. Returns its result.

    Cancelled before the thread has come to it, it is not called; later, it runs to its end and nobody is told.
    """
    # The caller's context goes with it: which task is running, whose parent and root ids what is sent gets.
    context = contextvars.copy_context()
    if elsewhere := _submitted(app, lambda: context.run(function, *args, **kwargs), writes=True):
        return await elsewhere
    # With task_always_eager it runs whole tasks. And what is called in a lane cannot wait for its own end.
    if app.conf.task_always_eager or _here.in_a_lane:
        return await asyncio.to_thread(function, *args, **kwargs)
    return await lanes_of(app).write(lambda: context.run(function, *args, **kwargs))


async def reading(app: AsyncApp, function: Callable[..., T], *args: Any) -> T:
    """Call `function`, which reads the file of `app`, in a thread: the event loop goes on. Returns its result."""
    context = contextvars.copy_context()  # it may say which file is read
    if elsewhere := _submitted(app, lambda: context.run(function, *args), writes=False):
        return await elsewhere
    return await lanes_of(app).read(lambda: context.run(function, *args))


async def looking(app: AsyncApp, function: Callable[..., T], *args: Any) -> T:
    """As `reading`, for what a page asks: it may take long, and the program's own reads do not wait for it."""
    context = contextvars.copy_context()
    if elsewhere := _submitted(app, lambda: context.run(function, *args), writes=False):
        return await elsewhere
    return await lanes_of(app).look(lambda: context.run(function, *args))


def _submitted(app: AsyncApp, call: Callable[[], T], *, writes: bool) -> asyncio.Future[T] | None:
    """The call's future, where a framework has its own place for it."""
    future = app.integrations.submit(call, writes=writes)
    return None if future is None else asyncio.wrap_future(future)
