"""Two equal reads at once are one, a form that is sent twice acts once; and one search a viewer at a time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["Once"]

T = TypeVar("T")

WAITING = 2  # behind the one that runs: each holds a thread
MOST_ACTS = 1_000  # whose answers are kept: a form is sent twice within seconds


class Once:
    """The reads that are under way, by their keys, in whatever threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[Hashable, Future[object]] = {}
        self._turns: dict[Hashable, tuple[threading.Lock, int]] = {}
        self._acts: OrderedDict[Hashable, object] = OrderedDict()  # the answers to the last acts

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

    def acted(self, key: Hashable, act: Callable[[], T], is_done: Callable[[T], bool]) -> T:
        """The answer of `act`; where the same was done before, or is under way, that one's. What failed is tried anew.

        As far as this process knows: another one has its own memory.
        """

        def once() -> T:
            with self._lock:
                if key in self._acts:
                    return self._acts[key]  # type: ignore[return-value]
            found = act()
            if is_done(found):
                with self._lock:
                    self._acts[key] = found
                    while len(self._acts) > MOST_ACTS:
                        self._acts.popitem(last=False)
            return found

        return self.shared(key, once)[0]

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
