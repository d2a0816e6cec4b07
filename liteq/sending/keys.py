"""The keys of a message, by which its limits and its turn are counted: of the task's options, or of the call's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from liteq.context import App
from liteq.context.display import in_front
from liteq.message import Message
from liteq.policy.keyed import KEYED, NOT_YET, Keyed, keyed_of
from liteq.policy.keys import LATER, KeyNotYet

__all__ = [
    "KEYED_BY_CALL",
    "add_keys",
    "changed_keys",
    "document_of_keys",
    "keyed_task",
    "keys_again",
    "whole_arguments",
]

KEYED_BY_CALL = frozenset(KEYED)
DECLARED_MOST = 10_000  # limits of single calls that a process remembers to have written
OF_KEYS = ("concurrency_key", "rate_key", "fair_key")


def noun(task: Any) -> str:
    """The task in an error: "task 'shop.bill'"."""
    return f"{'workflow' if getattr(task, 'is_workflow', False) else 'task'} {task.name!r}"


def options_of(task: Any) -> dict[str, Any]:
    """The options of a task by which its messages are counted."""
    return {option: getattr(task, option, None) for option in KEYED}


def keyed_task(task: Any) -> Keyed | None:
    """The limits that the options of `task` spell out. Raises TypeError, ValueError for options that are none."""
    hidden = getattr(task, "sensitive", ())
    return keyed_of(task.name, options_of(task), lambda: task.parameters.signature, noun(task), hidden)


def keyed_call(app: App, name: str, options: Mapping[str, Any]) -> Keyed | None:
    """As `keyed_task`, of one call of the task `name`: an option of the call goes before the task's."""
    task = app.tasks.get(name)
    given = {} if task is None else options_of(task)
    given.update((option, options[option]) for option in KEYED if options.get(option) is not None)
    what = f"a call of task {name!r}" if task is None else f"a call of {noun(task)}"
    for limit, key in (("max_concurrency", "concurrency_key"), ("global_rate_limit", "rate_key")):
        if options.get(limit) is not None and given.get(key) is None:
            raise ValueError(
                f"{what}: {limit} without {key} is of all calls; give it to @app.task, or app.limits.set('task:{name}')"
            )
    hidden = getattr(task, "sensitive", ())
    return keyed_of(name, given, lambda: None if task is None else task.parameters.signature, what, hidden)


def add_keys(
    app: App, keyed: Keyed | None, message: Message, args: Sequence[Any], kwargs: Mapping[str, Any],
    options: Mapping[str, Any],
) -> None:  # fmt: skip
    """Give `message` its keys; those that take an argument it has not got yet are made by the worker that meets it."""
    own = not KEYED_BY_CALL.isdisjoint(options)
    if own:
        keyed = keyed_call(app, message.task, options)
    if keyed is None:
        return
    args = whole_arguments(message.flags, args)
    message.keys = keyed.keys_or_later(args, kwargs)
    if message.keys == NOT_YET:
        _await_keys(app, keyed, message, own=own)
    if own and (options.get("max_concurrency") is not None or options.get("global_rate_limit") is not None):
        _declare(app, keyed.exactly(args, kwargs))


def _await_keys(app: App, keyed: Keyed, message: Message, *, own: bool) -> None:
    """Leave the keys of `message` to the worker that meets it, where it can make them."""
    before = app.publisher.defaults(message.task).keyed
    if own and not (before is not None and before.is_late):
        raise ValueError(
            f"{keyed.what}: its keys take an argument that it gets from the task before it; give the key as an option "
            "of @app.task, so that workers know of it"
        )
    if not keyed.is_late:
        message.keys = None


def whole_arguments(flags: int, args: Sequence[Any]) -> Sequence[Any]:
    """`args` with LATER for each that comes in front. How many come before an errback's, its worker knows."""
    least, most = in_front(flags)
    if least == most:
        return (LATER,) * most + tuple(args) if most else args
    return (LATER,) * (most + len(args))


def _declare(app: App, limits: Mapping[str, tuple[str | None, int | None]]) -> None:
    """Write the limits of one call's own keys, where this process has not done so."""
    known = app.publisher.limits_declared
    file = "" if app.files is None else app.broker_url
    new = {key: limit for key, limit in limits.items() if known.get(file + key) != limit}
    if new:
        app.storage.limits.declare(new)
        if len(known) + len(new) > DECLARED_MOST:
            known.clear()
        known.update((file + key, limit) for key, limit in new.items())


def document_of_keys(options: Mapping[str, Any]) -> dict[str, Any]:
    """The templates that a call has of its own, for the options document: by them its keys are made later, or anew."""
    found: dict[str, Any] = {key: options[key] for key in OF_KEYS if isinstance(options.get(key), str)}
    limits = options.get("limits")
    if limits is not None:
        found["limits"] = [one for one in ([limits] if isinstance(limits, str) else limits) if isinstance(one, str)]
    return found


def keys_again(
    app: App, task: Any, document: Mapping[str, Any], args: Sequence[Any], kwargs: Mapping[str, Any],
    *, functions: bool = True,
) -> str | None:  # fmt: skip
    """The keys of a message of `task`, of all its arguments; `document`: its options document. None: it has none.

    `functions`: as of `Keyed.keys_of`, whose errors it raises.
    """
    keyed = _keyed_of_row(app, task.name, document.get("keyed"))
    return None if keyed is None else keyed.keys_of(args, kwargs, functions=functions)


def _keyed_of_row(app: App, name: str, own: Mapping[str, Any] | None) -> Keyed | None:
    keyed: Keyed | None = keyed_call(app, name, own) if own else app.publisher.defaults(name).keyed
    return keyed


def changed_keys(
    task: Any, document: Mapping[str, Any], options: Mapping[str, Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, str]:
    """The field `keys` of RetryAt for a retry with other arguments, or `options`; empty where it keeps its keys."""
    own = {**document.get("keyed", {}), **{key: one for key, one in options.items() if key in KEYED_BY_CALL}}
    keyed = _keyed_of_row(task.app, task.name, own)
    try:
        return {} if keyed is None else {"keys": keyed.keys_of(args, kwargs) or ""}
    except KeyNotYet:
        return {}
