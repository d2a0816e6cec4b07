"""`Composite`: the base of chain, group and chord, and how their parts are checked and written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from liteq.canvas.lazy import LazyTasks, mapped
from liteq.canvas.options import refuse
from liteq.canvas.signature import Signature, maybe_signature
from liteq.context import App

__all__ = ["Composite", "listed", "shortened"]


def shortened(name: str, text: str) -> str:
    """`text` with the module of the task `name` written only where it first occurs."""
    module = name.rpartition(".")[0] + "."
    first, found, rest = text.partition(module)
    return first + found + rest.replace(module, "") if len(module) > 1 else text


def listed(tasks: Any, where: str, app: App | None = None, *, members: bool = False) -> Any:
    """`tasks` as a list, or the tuple that it is, of signatures. Raises TypeError where one is not.

    `members`: as a group's, which are copies, may be tasks, and are not asked for yet where a generator makes them.
    """
    if isinstance(tasks, (str, bytes, Mapping)) or not isinstance(tasks, Iterable):
        refuse(tasks, where)

    def checked(task: Any) -> Any:
        made = _member(task, app, where) if members else maybe_signature(task, app, where=where)
        return refuse(task, where) if made is None else made

    if members and isinstance(tasks, Iterator):
        return LazyTasks(map(checked, tasks))
    return mapped(tasks, checked)


def _member(task: Any, app: App | None, where: str) -> Any:
    """A copy of its own for a group: a later change of it does not change the original."""
    if not isinstance(task, Mapping) and hasattr(task, "s") and getattr(task, "name", None):
        return task.s()
    return maybe_signature(task, app, clone=True, where=where)


class Composite(Signature):
    """The base of chain, group and chord: it has `tasks`, and arguments reach the first ones of them to run."""

    __slots__ = ()

    @property
    def tasks(self) -> Any:
        return self.kwargs["tasks"]

    @tasks.setter
    def tasks(self, value: Any) -> None:
        self.kwargs["tasks"] = value

    def parts(self) -> Iterator[Signature]:
        return iter(self.tasks)

    def bound_app(self) -> App | None:
        if self._app is not None:
            return self._app
        for part in self.parts():
            if (app := part.bound_app()) is not None:
                return app
            if isinstance(self.tasks, LazyTasks):  # the first says it; the others are made when they are sent
                return None
        return None

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.apply_async(args, **options)
