"""The terms of a task that takes its messages in batches: how many, how long the first one waits, which ones."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from liteq.policy.keys import Key, compile_key
from liteq.utils.durations import LONGEST_S, numeric_s
from liteq.utils.records import NamedTuple

__all__ = ["BatchTerms", "any_call", "batch_terms", "check_body"]

LARGEST = 10_000  # members of one batch: they are in memory twice, and in one transaction


class BatchTerms(NamedTuple):
    """At most `size` messages in one call, all with equal keys; the first waits at most `wait_s` seconds for others."""

    size: int
    wait_s: float
    key: Key | None


def any_call(*_args: Any, **_kwargs: Any) -> None:
    """Stand for the parameters of a call: the function of a batch takes a list, and a call may have any arguments."""


def batch_terms(name: str | None, size: Any, wait_s: Any, key: Any) -> BatchTerms | None:
    """The terms in the options `batch`, `batch_wait` and `batch_key` of the task `name`; None: it takes no batches.

    Raises TypeError and ValueError for options that are no terms.
    """
    what = f"task {name!r}"
    if size is None:
        if key is not None:
            raise TypeError(f"{what}: batch_key says which messages go into one batch; give batch=, how many")
        return None
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"{what}: batch is how many messages at most go into one call, not {size!r}")
    if not 1 <= size <= LARGEST:
        raise ValueError(f"{what}: batch is a number from 1 to {LARGEST:,}, not {size}")
    wait_s = numeric_s(wait_s, f"{what}: batch_wait")
    if not 0 <= wait_s <= LONGEST_S:
        raise ValueError(f"{what}: batch_wait is a number of seconds from 0 on, not {wait_s!r}")
    if key is not None and not isinstance(key, str):
        raise TypeError(
            f'{what}: batch_key is a template such as "{{shop}}", not {key!r}: the worker\'s main process gathers the '
            "messages, and runs no code of yours"
        )
    return BatchTerms(size, wait_s, compile_key(key, inspect.signature(any_call), what=f"{what}: batch_key"))


def check_body(name: str, function: Callable[..., Any], *, bound: bool) -> None:
    """Raises TypeError for a function that cannot be called with a list of items alone; `bound`: after `self`."""
    given = [None, None] if bound else [None]
    try:
        inspect.signature(function).bind(*given)
    except TypeError:
        own = "self and the items" if bound else "the items"
        raise TypeError(
            f"task {name!r}: with batch= its function is called with {own} alone: def {function.__name__}"
            f"({'self, ' if bound else ''}items); the arguments of each call are in item.args and item.kwargs"
        ) from None
    except ValueError:  # a function in C, of which nothing is known
        return
