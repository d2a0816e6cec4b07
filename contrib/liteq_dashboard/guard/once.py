"""Two equal reads at once are one; and one search a viewer at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["Once"]

T = TypeVar("T")

WAITING = 2  # behind the one that runs: each holds a thread


class Once:
    """The reads that are under way, by their keys, in whatever threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[Hashable, Future[object]] = {}
        self._turns: dict[Hashable, tuple[threading.Lock, int]] = {}

    def shared(self, key: Hashable, read: Callable[[], T]) -> tuple[T, bool]:
        """The document of `read`, or of an equal read that is under way; and whether it is another's.

        Raises what that one raises.
        """
        with self._lock:
            mine: Future[object] = Future()
            other = self._under_way.get(key)
            if other is None:
                self._under_way[key] = mine
        if other is not None:
            return other.result(), True  # type: ignore[return-value]
        try:
            found = read()
        except BaseException as exc:
            mine.set_exception(exc)
            raise
        else:
            mine.set_result(found)
            return found, False
        finally:
            with self._lock:
                del self._under_way[key]

    @contextmanager
    def turn(self, key: Hashable) -> Iterator[bool]:
        """The block is run by one thread at a time for each `key`; False at once where `WAITING` wait already."""
        with self._lock:
            turn, n = self._turns.get(key, (threading.Lock(), 0))
            has_room = n <= WAITING
            if has_room:
                self._turns[key] = (turn, n + 1)
        if not has_room:
            yield False
            return
        try:
            with turn:
                yield True
        finally:
            with self._lock:
                turn, n = self._turns[key]
                if n == 1:
                    del self._turns[key]
                else:
                    self._turns[key] = (turn, n - 1)
