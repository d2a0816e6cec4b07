"""Between functions and coroutines. Imported where one is used: asyncio costs a process 30 ms and a few MiB."""

from __future__ import annotations

import asyncio
import contextvars
import os
import sys
import threading
from asyncio import CancelledError
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

__all__ = ["CancelledError", "kept_loop", "run_coroutine", "run_elsewhere"]

T = TypeVar("T")


# Held on to in a forked child too, where the threads that they belong to are gone. A loop that ends there, by close()
# or by its finalizer, takes its wake-up out of the epoll set that both processes share: the parent's then sleeps on.
_runners: set[asyncio.Runner] = set()


class _Kept:
    """A thread's event loop, closed with the thread: a pool's threads come and go."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.runner = asyncio.Runner()
        _runners.add(self.runner)

    def __del__(self) -> None:
        with suppress(Exception):  # the interpreter may be going down
            if self.pid == os.getpid():
                _runners.discard(self.runner)
                # At the interpreter's end a runner would wait for ever for the thread that ends its executor.
                (self.runner.get_loop() if sys.is_finalizing() else self.runner).close()


class _Loop(threading.local):
    kept: _Kept | None = None
    elsewhere: Callable[[Coroutine[Any, Any, Any]], Any] | None = None


_thread = _Loop()


def run_coroutine(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` to its end on this thread's event loop, which is kept for the next; what it returned.

    Called under a running loop (an eager call in async code), it runs on a loop in a thread of its own. In a thread
    that called `run_elsewhere`, it runs where that has said.
    """
    if _thread.elsewhere is not None:
        elsewhere: T = _thread.elsewhere(coroutine)
        return elsewhere
    try:
        asyncio.get_running_loop()
        is_under_a_loop = True
    except RuntimeError:
        is_under_a_loop = False
    # Not in the `except`: what the coroutine raises would have "no running event loop" as its context.
    return _run_aside(coroutine) if is_under_a_loop else _run_here(coroutine)


def run_elsewhere(run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
    """Have `run` run the coroutines of this thread from now on: on the loop of another thread, say."""
    _thread.elsewhere = run


def kept_loop() -> asyncio.AbstractEventLoop:
    """This thread's event loop, which is kept as long as the thread lives."""
    if _thread.kept is None or _thread.kept.pid != os.getpid():
        _thread.kept = _Kept()
    return _thread.kept.runner.get_loop()


def _run_here(coroutine: Coroutine[Any, Any, T]) -> T:
    loop = kept_loop()
    interruptible = _Interruptible(coroutine)
    # The task's own context, as it is now: asyncio.Runner.run would use the one in which the loop was made.
    future: asyncio.Task[T] = loop.create_task(interruptible, context=contextvars.copy_context())
    try:
        return loop.run_until_complete(future)
    except BaseException as exc:
        if future.done():
            raise
        interruptible.interruption = exc  # a time limit's signal hit the loop: it is meant for the coroutine
        future.cancel()
        return loop.run_until_complete(future)


class _Interruptible(Coroutine[Any, Any, T]):
    """A coroutine into which an exception can be thrown at its `await`: set `interruption`, cancel its task."""

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self.interruption: BaseException | None = None

    def __await__(self) -> Generator[Any, Any, T]:
        return self._coroutine.__await__()

    def send(self, value: Any) -> Any:
        return self._coroutine.send(value)

    def throw(self, exc: Any, *rest: Any) -> Any:
        if self.interruption is not None and isinstance(exc, CancelledError):
            exc, self.interruption = self.interruption, None
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()  # the coroutine may catch it and go on
        return self._coroutine.throw(exc, *rest)

    def close(self) -> None:
        self._coroutine.close()


def _run_aside(coroutine: Coroutine[Any, Any, T]) -> T:
    with ThreadPoolExecutor(1, thread_name_prefix="liteq-eager") as pool:
        return pool.submit(contextvars.copy_context().run, asyncio.run, coroutine).result()
