"""The options of a call: the table of those that something reads, and the refusal of every other one.

A name that is none is a typing error: `count_down=5` would send at once, and nobody would know. It passes where it is
asked for all the same: by a router, by the `apply_async` of the task's class, by a receiver of before_task_publish; and
everywhere with the setting `unknown_options`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import CodeType, NoneType
from typing import Any

from liteq import signals
from liteq.context import App
from liteq.execution.eager import eager_fields
from liteq.policy.kept import KEPT
from liteq.policy.keyed import KEYED
from liteq.utils.misspelt import LIKELY, Asked, nearest, unexpected

__all__ = [
    "DOCUMENTED",
    "FORM",
    "GRAPH",
    "OF_A_CALL",
    "OF_THE_TASK",
    "PROPERTIES",
    "STRUCTURAL",
    "check_options",
    "eager_options",
    "positional_of",
    "unknown_among",
]

logger = logging.getLogger("liteq.app")

# Read by the executing side from the row's options document.
DOCUMENTED = (
    "headers", "shadow", "reply_to", "origin", "stamped_headers", "argsrepr", "kwargsrepr", "replaced_task_nesting",
)  # fmt: skip
PROPERTIES = (
    "correlation_id", "app_id", "user_id", "message_id", "content_type", "content_encoding", "type", "cluster_id",
)  # fmt: skip
FORM = frozenset({"serializer", "compression"})
# Where a row stands is said by the rows themselves, not by its options.
STRUCTURAL = frozenset(
    {"task_id", "link", "link_error", "chain", "chord", "group_id", "group_index", "root_id", "parent_id"}
)
# Options by which a call becomes a graph of rows.
GRAPH = frozenset({"link", "link_error", "chain", "chord"})
OF_THE_TASK = ("queue", "exchange", "routing_key", "priority")
# Read by their names where a row is made, or a call is sent.
OF_THE_ROW = frozenset(
    {"countdown", "eta", "expires", "time_limit", "soft_time_limit", "unique", "unique_key", "idempotent", "replicated"}
    | {"ignore_result", "add_to_group", "add_to_parent", "route_name", "stamps", "timelimit"}
)
# Of a call that is run here.
OF_APPLY = frozenset({"throw", "retries", "logfile", "loglevel"})
# Celery's, kombu's and a broker's, which mean nothing here.
WITHOUT_EFFECT = frozenset(
    """
    application_headers confirm_timeout connection declare delivery_info delivery_mode event_dispatcher
    exchange_type expiration immediate mandatory producer properties publisher result_cls retry retry_policy
    router task_type timeout timestamp periodic_task_name
    MessageAttributes MessageDeduplicationId MessageGroupId
    """.split()  # noqa: SIM905 - a list of names, one a string, would be three times as long
)

OF_A_CALL = (
    FORM | STRUCTURAL | GRAPH | OF_THE_ROW | OF_APPLY | WITHOUT_EFFECT
    | {*DOCUMENTED, *PROPERTIES, *OF_THE_TASK, *KEYED, *KEPT}
)  # fmt: skip
"""Every option that a call may have."""

REMEDY = "the setting unknown_options='ignore' lets such a name pass in silence, as Celery does"


# A mapping is meant for kwargs; a set has no order.
NO_ARGUMENTS = (str, bytes, Mapping, AbstractSet)


def positional_of(args: Any, kwargs: Any) -> Sequence[Any]:
    """The positional arguments of a call. Raises TypeError for `args`, and `kwargs`, that are none."""
    listed = isinstance(args, (tuple, list))
    given = listed or args is None or (isinstance(args, Iterable) and not isinstance(args, NO_ARGUMENTS))
    if not given or not isinstance(kwargs, (Mapping, NoneType)):
        raise TypeError(f"args are a list or a tuple, and kwargs a dict, not {args!r:.80} and {kwargs!r:.80}")
    positional: Sequence[Any] = args if listed else () if args is None else tuple(args)
    return positional


def unknown_among(options: Mapping[str, Any]) -> set[str]:
    """The names in `options` that are no option's, and no stamp's."""
    return options.keys() - OF_A_CALL - set(options.get("stamped_headers") or ())


def check_options(
    app: App,
    name: str | None,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    options: Mapping[str, Any],
    *,
    asked: Collection[str] = (),
    if_near: bool = False,
    parameters: Collection[str] = ("args", "kwargs"),
    known: Collection[str] = OF_A_CALL,
) -> set[str]:
    """Refuse the options of a call of the task `name` that nothing reads, as the setting `unknown_options` says.

    `asked`: names that somebody is known to ask for. `if_near`: only those that look like an option's.
    `parameters`: names that the caller's verb takes beside the options of a call, of which it takes `known`.
    Returns the names that were only logged. Raises TypeError, which tells the nearest option.
    """
    unknown = unknown_among(options).difference(asked)
    if not unknown or app.conf.unknown_options == "ignore":
        return set()
    task = app.tasks.get(name)
    unknown -= _asked_by_router(app, name, args, kwargs, options, task)
    if task is not None and task.overrides_sending:
        mentioned = set(_mentioned_by_class(type(task)))
        unknown = {one for one in unknown - mentioned if _is_near(one)}
    if if_near:
        unknown = {one for one in unknown if _is_near(one)}
    if not unknown:
        return set()
    error = unexpected(f"a call of task {name!r}", unknown, {*known, *parameters} - unknown, REMEDY)
    if app.conf.unknown_options == "warn":
        logger.warning("%s", error)
        return unknown
    raise error


def eager_options(task: Any, args: Any, kwargs: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the request of a call of `task` that is run here. Raises as `check_options`."""
    if not options.keys() <= OF_A_CALL:
        # No receiver of before_task_publish is called for it, so that none can be seen to ask for a name.
        published = bool(signals.before_task_publish.receivers)
        check_options(task.app, task.name, args, kwargs, options, if_near=published)
    return eager_fields(options)


def _is_near(name: str) -> bool:
    return nearest(name, OF_A_CALL, LIKELY) is not None


def _asked_by_router(app: App, name: str | None, args: Any, kwargs: Any, options: Any, task: Any) -> set[str]:
    router = app.publisher.router
    if router.is_static:
        return set()
    given = Asked(options)
    router.route(name, args, kwargs, given, task)
    return given.asked


def _mentioned_by_class(cls: type) -> Iterator[str]:
    """Names that the methods of a task's class, and of its bases outside of liteq, have as parameters or as texts."""
    for base in cls.__mro__:
        if base.__module__.startswith("liteq."):
            continue
        for member in vars(base).values():
            function = getattr(member, "fget", None) or getattr(member, "__func__", member)
            code = getattr(function, "__code__", None)
            if isinstance(code, CodeType):
                yield from _mentioned(code, getattr(function, "__globals__", {}))


def _mentioned(code: CodeType, names: Mapping[str, Any]) -> Iterator[str]:
    yield from code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    for value in (*code.co_consts, *(names.get(name) for name in code.co_names)):
        if isinstance(value, CodeType):
            yield from _mentioned(value, names)
        elif isinstance(value, str):
            yield value
        elif isinstance(value, (tuple, list, set, frozenset)):
            yield from (one for one in value if isinstance(one, str))
