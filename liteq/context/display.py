"""Arguments as a person may see them: the one place that decides what is hidden, for every log, list and monitor.

An argument that its task calls `sensitive` is `***`, also in a signature that is itself an argument. A process that
does not know the task cannot tell which those are, so it hides them all. A sender's `argsrepr` and `kwargsrepr` are
shown as they are: they were written to be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from liteq.context.app import App
from liteq.message import Flag
from liteq.policy.arguments import REDACTED
from liteq.serialization import decode, kind_of
from liteq.serialization.content import options_of
from liteq.utils.records import NamedTuple

__all__ = [
    "REDACTED",
    "Call",
    "Sent",
    "hides_all",
    "in_front",
    "redacted",
    "shown_call",
    "shown_schedule",
    "shown_settings",
]

SIGNATURE = frozenset({"task", "args", "kwargs", "options"})  # the keys of a call among the arguments of another
MAPS = frozenset({"celery.map", "celery.starmap", "celery.chunks"})  # tasks that call another with each of `it`


class Sent(Protocol):
    """A message: a `Message` to be written, a worker's `Lease`, a reader's `Record`."""

    @property
    def task(self) -> str: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def options(self) -> bytes | None: ...
    @property
    def flags(self) -> int: ...


class Call(NamedTuple):
    """The arguments of a call, fit to be shown: values, or the text that the sender gave in their place."""

    args: list[Any] | str
    kwargs: dict[str, Any] | str
    hidden: bool = False
    """Whether all values are hidden, as this process does not know the task."""

    @property
    def argsrepr(self) -> str:
        """The positional arguments as text."""
        return self.args if isinstance(self.args, str) else repr(tuple(self.args))

    @property
    def kwargsrepr(self) -> str:
        """The named arguments as text."""
        return self.kwargs if isinstance(self.kwargs, str) else repr(self.kwargs)


def shown_call(app: App, message: Sent) -> Call:
    """The arguments of `message`. Opens no envelope, as unpickling would run code: its kind stands for them."""
    sealed = kind_of(message.payload)
    options = options_of(message.options)
    args, kwargs = ([sealed], {}) if sealed is not None else decode(message.payload)
    if sealed is None:
        args, kwargs = redacted(app, message.task, args, kwargs, in_front=in_front(message.flags))
    hidden = sealed is None and hides_all(app, message.task)
    return Call(options.get("argsrepr") or args, options.get("kwargsrepr") or kwargs, hidden)


def hides_all(app: App, name: str) -> bool:
    """Whether every argument of the task `name` is hidden, as `app` does not know it in this process."""
    return app.tasks.find(name) is None


def in_front(flags: int) -> tuple[int, int]:
    """How many arguments, at least and at most, come before those of a message: the result of what it awaits.

    An errback gets the id of what failed, or its request, exception and traceback.
    """
    if not flags & Flag.TAKES_INPUT:
        return (0, 0)
    return (1, 3) if flags & Flag.ON_FAILURE else (1, 1)


def redacted(
    app: App,
    name: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    in_front: tuple[int, int] | None = (0, 0),
) -> tuple[list[Any], dict[str, Any]]:
    """Arguments of the task `name` as they may be shown. `in_front`: as in `Task.redacted`."""
    task = app.tasks.find(name)
    if task is None:
        return [REDACTED] * len(args), dict.fromkeys(kwargs, REDACTED)
    plain, named = task.redacted(args, kwargs, in_front=in_front)
    if name in MAPS and _is_call(named.get("task")) and _hides_some(app, named["task"]["task"]):
        named["it"] = REDACTED
    return _each_call(app, plain), _each_call(app, named)


def _hides_some(app: App, name: str) -> bool:
    task = app.tasks.find(name)
    return task is None or bool(task.sensitive)


def _is_call(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() >= SIGNATURE and isinstance(value["task"], str)


def _each_call(app: App, value: Any) -> Any:
    """`value` with the arguments of each signature in it as they may be shown."""
    if isinstance(value, (list, tuple)):
        return [_each_call(app, one) for one in value]
    if not isinstance(value, dict):
        return value
    if not _is_call(value):
        return {key: _each_call(app, one) for key, one in value.items()}
    in_front = (0, 0) if value.get("immutable") else None  # what it is called with comes before its own
    args, kwargs = redacted(app, value["task"], value["args"] or (), value["kwargs"] or {}, in_front=in_front)
    return {**value, "args": args, "kwargs": kwargs, "options": _each_call(app, value["options"])}


# -- the settings, which hold the arguments of periodic tasks --------------------------------------------------------


def shown_schedule(app: App, entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of `beat_schedule`, its arguments as they may be shown."""
    args, kwargs = redacted(app, str(entry.get("task")), entry.get("args") or (), entry.get("kwargs") or {})
    hidden = {"args": tuple(args), "kwargs": kwargs}
    return {name: hidden.get(name, value) for name, value in entry.items()}


def shown_settings(app: App, *, with_defaults: bool = False) -> dict[str, Any]:
    """The settings by name, secrets hidden, and the arguments in `beat_schedule` as they may be shown."""
    table: dict[str, Any] = app.conf.table(with_defaults=with_defaults)
    schedule = table.get("beat_schedule")
    if schedule:
        table["beat_schedule"] = {
            name: shown_schedule(app, entry) if isinstance(entry, Mapping) else entry
            for name, entry in schedule.items()
        }
    return table
