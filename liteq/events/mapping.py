"""An index that is also a method: `state.tasks_by_type["proj.add"]`, `state.tasks_by_type("proj.add", limit=10)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["MethodOrMapping"]


class MethodOrMapping(Mapping[Any, set[Any]]):
    """Calls `method`; as a mapping it is what `index()` gives, an empty set for a key that is not there."""

    def __init__(self, method: Callable[..., Iterator[Any]], index: Callable[[], dict[Any, set[Any]]]) -> None:
        self._method = method
        self._index = index

    def __call__(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        return self._method(*args, **kwargs)

    def __getitem__(self, key: Any) -> set[Any]:
        return self._index().get(key, set())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._index())

    def __len__(self) -> int:
        return len(self._index())
