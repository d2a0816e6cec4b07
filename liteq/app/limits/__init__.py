"""`app.limits`: how many of a key may run at once, and how often they may start, over all workers."""

from __future__ import annotations

import builtins
import sys
from functools import cached_property
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, cast

from liteq.context import App
from liteq.policy.rates import amount_in, per_second
from liteq.sending.keys import keyed_task
from liteq.utils.durations import numeric_s
from liteq.utils.names import checked_name

if TYPE_CHECKING:
    from datetime import datetime

    from liteq.app.limits.budgets import Budgets
    from liteq.storage.limits import Limit
    from liteq.storage.storage import Storage
    from liteq.utils.durations import Duration

__all__ = ["Declared", "Limiting", "Limits", "declared_limits", "importing"]

Declared = dict[str, tuple[str | None, int | None] | tuple[str | None, int | None, str | None]]
"""(rate, how many at once, tokens) by key, as the code has them."""
LOADER = "<frozen importlib._bootstrap>"


class Limits:
    """The limits of one app's queue. Keys are those of messages ("user:42"), and "task:NAME", "queue:NAME".

    A key with `*` ("user:*") limits each key that fits it, counted apart. A limit of the exact key takes precedence.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self.declared: Declared = {}
        """Limits that modules have set while they were imported: written when the file is opened."""

    def set(
        self, key: str, *, rate: str | float | None = None, concurrent: int | None = None, tokens: str | None = None
    ) -> None:
        """Limit `key` to `rate` starts ("100/m", "1000/d") and to `concurrent` messages at once; None: no such limit.

        tokens: those of a model, "200k/m", that steps tell by `ctx.spend`: a step of the key begins when as many are
        there as such a step ever took, or as it says by `spends=`.

        The limit is in force at once, and counts messages that already run. It is kept in the file, over restarts.
        A call in a module that is being imported declares the limit: it is written when the file is first used, and
        a limit that is set later at run time replaces it, until the declaration in the code changes. Raises
        ValueError for a rate or a number that is none, TypeError.
        """
        _check(key, rate, concurrent)
        if tokens is not None:
            amount_in(tokens)
        if not importing():
            self._app.storage.limits.set(key, rate, concurrent, tokens)
            return
        self.declared[key] = (None if not per_second(rate) else str(rate), concurrent, tokens)
        if "storage" in vars(self._app):
            self._app.storage.limits.declare({key: self.declared[key]})

    def get(self, key: str) -> Limit:
        """The limit of `key`, or of the pattern that it fits, with its pause and how many messages run and are held."""
        return self._app.storage.limits.get(_named(key))

    def list(self) -> builtins.list[Limit]:
        """The limits that are set, and the keys that are paused."""
        return builtins.list(self._app.storage.limits.list())

    def delete(self, key: str) -> bool:
        """Forget the limit of `key`: the messages that it held go on. False where there is none.

        A limit that the code declares comes back when a worker starts; `set(key)` lifts it for good.
        """
        return self._app.storage.limits.delete(_named(key))

    def pause(self, key: str, seconds: Duration, reason: str = "") -> None:
        """Let no message of `key` start for `seconds`, also "10m"; the first starts after that are slow.

        Of several pauses, the one that ends last counts.
        """
        seconds = numeric_s(seconds, "a pause")
        if not 0 <= seconds <= 366 * 86_400:
            raise ValueError(f"a pause is from 0 to {366 * 86_400:,} seconds, not {seconds!r}")
        self._app.storage.limits.pause(_named(key), seconds, reason)

    def resume(self, key: str) -> bool:
        """End the pause of `key`; False where it is not paused."""
        return self._app.storage.limits.resume(_named(key))

    def write_declared(self, storage: Storage) -> None:
        """Write the limits that modules have set while they were imported, where the file does not know them."""
        if self.declared and not storage.driver.read_only:
            storage.limits.declare(self.declared)


class Limiting:
    """The part of an app that has `limits`."""

    @cached_property
    def limits(self) -> Limits:
        """The limits of its keys."""
        return Limits(cast("App", self))

    @cached_property
    def budgets(self) -> Budgets:
        """The budgets of its tags."""
        from liteq.app.limits.budgets import Budgets

        return Budgets(cast("App", self))

    def usage(
        self, since: Duration | datetime | None = None, by: Literal["model", "workflow", "tag", "day"] = "model"
    ) -> list[dict[str, Any]]:
        """The spending of all runs, the dearest first: the name by `by`, then the fields of Usage.

        since: so long ago ("7d"), or a time; None: all that is known, a year and a bit. Raises ValueError.
        """
        from liteq.workflow.client.usage import listed

        return listed(cast("App", self), since=since, by=by)


def declared_limits(app: App) -> Declared:
    """The limits that the code has: by the options of its tasks, and set while its modules were imported.

    Of each task as a whole, also that it has none. Raises TypeError, ValueError for options that are none.
    """
    found: Declared = {}
    for name, task in app.tasks.items():
        found[f"task:{name}"] = (None, None)
        keyed = keyed_task(task)
        if keyed is not None:
            found.update((key, limit) for key, limit in keyed.declared.items() if limit != (None, None))
    return {**found, **app.limits.declared}


def importing() -> bool:
    """Whether the caller of its caller stands in a module that is being imported, by this thread."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename == LOADER:
            return True
        frame = frame.f_back
    return False


def _named(key: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f'the key of a limit is a string such as "user:42", not {key!r}')
    if not key:
        raise ValueError('the key of a limit is not empty; write one such as "user:42" or "task:shop.bill"')
    return checked_name(key, "the key of a limit")


def _check(key: str, rate: str | float | None, concurrent: int | None) -> None:
    _named(key)
    per_second(rate)
    if concurrent is not None and (isinstance(concurrent, bool) or not isinstance(concurrent, int)):
        raise TypeError(f"concurrent is a whole number from 1, not {concurrent!r}")
    if concurrent is not None and concurrent < 1:
        raise ValueError(
            f"concurrent is a whole number from 1, not {concurrent!r}; app.limits.pause() lets nothing start"
        )
