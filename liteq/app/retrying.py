"""The parts of a running task's methods: the retry it asks for, its replacement, the progress that it shows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from liteq.canvas import ACCUMULATE, _chain, group, is_void, maybe_signature
from liteq.context import Request
from liteq.context.display import redacted
from liteq.exceptions import ImproperlyConfigured, Retry
from liteq.policy.kept import KEPT
from liteq.sending.keys import KEYED_BY_CALL, changed_keys
from liteq.sending.options import GRAPH, check_options
from liteq.serialization import as_json, encode
from liteq.serialization.failures import meta_of_exception
from liteq.utils.durations import seconds

__all__ = ["options_of", "progress_document", "replacement", "retry_of"]


def options_of(task: Any, request: Request, queue: str | None) -> dict[str, Any]:
    """The options with which the call of `request` is sent once more; None where it has none."""
    where = request.delivery_info or {}
    return {
        "task_id": request.id, "headers": request.headers, "shadow": request.shadow, "queue": queue,
        **{key: where.get(key) or None for key in ("exchange", "routing_key")}, "priority": where.get("priority"),
        "ignore_result": bool(request.ignore_result or task.ignore_result), **(request.stamps or {}),
        "stamped_headers": request.stamped_headers,
    }  # fmt: skip


OF_RETRY = ("args", "kwargs", "exc", "max_retries")  # parameters of `Task.retry` that are no options of a call
OF_THE_MESSAGE = GRAPH | {*KEPT, "idempotent", "ignore_result", "unique", "unique_key"}  # stay, whatever a retry says


def retry_of(
    task: Any,
    request: Request,
    arguments: tuple[Any, Any],
    exc: BaseException | None,
    when: float | str | datetime | None,
    max_retries: int | None,
    options: Mapping[str, Any],
) -> Retry:
    """The exception by which `task` asks for one more execution of the message of `request`.

    `arguments`: other args and kwargs, None for those it has; `when`: seconds from now, or a time. Raises `exc`, else
    MaxRetriesExceededError, when that would be one retry more than `max_retries`.
    """
    args, kwargs = arguments
    changed = args is not None or kwargs is not None
    if changed:
        args, kwargs = task.parameters.changed(request.args, request.kwargs, args, kwargs)
    if options.get("replicated"):
        raise TypeError("a retry cannot be `replicated`: the worker that writes it waits for no copy")
    given = sorted(OF_THE_MESSAGE.intersection(options))
    if kept := [f"{name}=" for name in given if _differs(request, name, options[name])]:
        raise TypeError(
            f"a retry runs the same message again, as it was sent otherwise: give {', '.join(kept)} to the call "
            "that sends it, or send another one"
        )
    if options:
        check_options(task.app, task.name, request.args, request.kwargs, options, parameters=OF_RETRY)
    again = task.signature_from_request(request, args, kwargs, **options)
    changes = task.app.publisher.changes(task.name, options, request.options) if options else {}
    if changed or not KEYED_BY_CALL.isdisjoint(options):
        changes |= changed_keys(task, request.options, options, again.args, again.kwargs)
    if max_retries is not None:  # for `autoretry_for` too, where what this raises would be tried once more
        request.max_retries = max_retries
    limit = task.max_retries if max_retries is None else max_retries
    if limit is not None and request.retries + 1 > limit:
        raise _too_many(task, request, again) if exc is None else exc
    at: Any = _when(when) if isinstance(when, str) else when
    retry = Retry(
        exc=exc,
        when=task.default_retry_delay if at is None else at,
        is_eager=request.is_eager,
        sig=again if changed else None,
    )
    retry.changes = changes
    return retry


def _differs(request: Request, name: str, value: Any) -> bool:
    """Whether `value` asks for another `name`, of OF_THE_MESSAGE, than the message has. What is empty asks for none."""
    if name == "ignore_result":
        return value is not None and bool(value) != bool(request.ignore_result)
    return bool(value)


def _when(text: str) -> datetime | float:
    """The `countdown` or `eta` of a retry that is a text: a time in ISO format, or a span."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return seconds(text, "the time of a retry, one in ISO format or a span, which")


def _too_many(task: Any, request: Request, again: Any) -> BaseException:
    shown_args, shown_kwargs = redacted(task.app, str(task.name), again.args, again.kwargs)
    error: BaseException = task.MaxRetriesExceededError(
        f"Can't retry {task.name}[{request.id}] args:{tuple(shown_args)} kwargs:{shown_kwargs}",
        task_args=again.args,
        task_kwargs=again.kwargs,
    )
    return error


def replacement(task: Any, sig: Any) -> Any:
    """`sig` made ready to take the place of the message that runs. Raises ImproperlyConfigured where it cannot."""
    task.app.stay_home("replace()")
    sig = maybe_signature(sig, app=task.app)
    if "chord" in sig.options:
        raise ImproperlyConfigured("A signature replacing a task must not be part of a chord")
    if is_void(sig):
        if not isinstance(sig, group):
            raise ImproperlyConfigured("Cannot replace with an empty chain")
        sig = task.app.tasks[ACCUMULATE].si()  # no tasks, no results: []
    nesting = task.request.replaced_task_nesting + 1
    sig.set(replaced_task_nesting=nesting)
    for step in sig.tasks if isinstance(sig, _chain) else ():
        step.set(replaced_task_nesting=nesting)
    return sig


def progress_document(task: Any, state: str | None, meta: Any, beside: Mapping[str, Any] | None = None) -> bytes:
    """`state` as plain JSON, so that a reader of states alone can read it; `meta` in the form of results.

    `beside`: more of the document, plain JSON too.
    """
    written = _state_and_meta(task, state, meta)
    return written[:-1] + b"," + encode(beside, what="its attempts")[1:] if beside else written


def _state_and_meta(task: Any, state: str | None, meta: Any) -> bytes:
    form, what = task.plan.form, f"meta of {task.name}"
    meta = meta_of_exception(meta) if isinstance(meta, BaseException) else meta
    if form is None:
        shown = {"state": state, "meta": meta}
        limit, depth = task.plan.result_limit, task.plan.depth
        return encode(shown, what=what, limit=limit, setting="max_result_bytes", max_depth=depth)
    written: bytes = as_json(task.app.result_content.write(meta, *form, what=what))
    return b'{"state":' + encode(state, what=what) + b',"meta":' + written + b"}"
