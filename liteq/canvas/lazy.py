"""The tasks of a group that was made of a generator: a list that is made as far as somebody has looked at it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableSequence
from itertools import islice
from typing import Any

__all__ = ["LazyTasks", "each_task", "has_one", "mapped"]


class LazyTasks(MutableSequence[Any]):
    """The items of `source`, asked for once and kept: any number of loops may run over them, nested ones too.

    Not a `list`: a serializer that knows lists would read those made so far and drop the rest. `len()`, an index from
    the end, and every change ask for all of it.
    """

    def __init__(self, source: Iterable[Any]) -> None:
        self._source: Iterator[Any] | None = iter(source)
        self._made: list[Any] = []
        self._error: BaseException | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all of it has been made."""
        return self._source is None and self._error is None

    def _make_one(self) -> bool:
        if self._error is not None:  # a second look must not find a shorter list
            raise self._error
        if self._source is None:
            return False
        try:
            self._made.append(next(self._source))
        except StopIteration:
            self._source = None
            return False
        except BaseException as exc:
            self._source, self._error = None, exc
            raise
        return True

    def whole(self) -> list[Any]:
        """All of it; raises what its generator raised."""
        while self._make_one():
            pass
        return self._made

    def change(self, function: Callable[[Any], object]) -> None:
        """Call `function` with each task: now with those that are made, with the others when they are."""
        for task in self._made:
            function(task)
        if self._source is not None:
            self._source = _changed(self._source, function)

    def __iter__(self) -> Iterator[Any]:
        # By index, and not by one shared iterator: len() in the middle of a loop must not end that loop.
        index = 0
        while index < len(self._made) or self._make_one():
            yield self._made[index]
            index += 1

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int) and index >= 0:
            while index >= len(self._made) and self._make_one():
                pass
            return self._made[index]
        return self.whole()[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self.whole()[index] = value

    def __delitem__(self, index: Any) -> None:
        del self.whole()[index]

    def insert(self, index: int, value: Any) -> None:
        """As a list's."""
        self.whole().insert(index, value)

    def __len__(self) -> int:
        return len(self.whole())

    def __bool__(self) -> bool:
        return bool(self._made) or self._make_one()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, LazyTasks):
            return self.whole() == other.whole()
        return self.whole() == other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        if self.is_whole:
            return repr(self._made)
        return f"[{''.join(f'{task!r}, ' for task in self._made)}...]"

    def __reduce__(self) -> Any:
        return list, (self.whole(),)

    def __json__(self) -> list[Any]:
        return self.whole()


def _changed(source: Iterator[Any], function: Callable[[Any], object]) -> Iterator[Any]:
    for task in source:
        function(task)
        yield task


def mapped(tasks: Any, function: Callable[[Any], Any]) -> Any:
    """`function` of each of `tasks`, in a container like theirs: of a lazy one when it is asked for."""
    made = (function(task) for task in tasks)
    if isinstance(tasks, LazyTasks) and not tasks.is_whole:
        return LazyTasks(made)
    return tuple(made) if isinstance(tasks, tuple) else list(made)


def has_one(tasks: Iterable[Any]) -> bool:
    """Whether there is exactly one; of a lazy one no more than two are made."""
    return sum(1 for _ in islice(tasks, 2)) == 1


def each_task(tasks: Iterable[Any], function: Callable[[Any], object]) -> None:
    """Call `function` with each of `tasks`: with those of a lazy one when they are made."""
    if isinstance(tasks, LazyTasks):
        tasks.change(function)
        return
    for task in tasks:
        function(task)
